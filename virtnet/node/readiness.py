"""Whether the node daemon serves: pods that come now would get their NICs."""

import asyncio
from pathlib import Path

from virtnet.kube.client import Cluster
from virtnet.ovn.ovn_controller import connection_status
from virtnet.ovn.vswitch import VSwitch

LOOK_SECONDS = 5.0

CONNECTED = "connected"


class NodeReadiness:
    """What keeps this process from serving, for the kubelet's readiness probe. It learns its parts as they come up."""

    def __init__(self, socket: Path, ovn_run_dir: Path) -> None:
        self._socket = socket
        self._ovn_run_dir = ovn_run_dir
        self._ovn = ""
        self.vswitch: VSwitch | None = None
        self.cluster: Cluster | None = None
        self.serving = False
        """Whether the CNI plugin would be answered."""

    def obstacles(self) -> list[str]:
        """One line each; none where it serves."""
        found = []
        if self.vswitch is None or not self.vswitch.up:
            found.append("Open vSwitch does not answer; is ovsdb-server running?")
        elif not self.vswitch.datapath:
            found.append(f"there is no bridge {self.vswitch.bridge}; is ovn-controller running?")
        if self._ovn != CONNECTED:
            said = f"says {self._ovn!r} of the southbound database" if self._ovn else "does not answer; is it running?"
            found.append(f"ovn-controller {said}")
        if self.cluster is None or not self.cluster.reachable:
            found.append(f"API server {self.cluster.server if self.cluster else ''} does not answer")
        if not self.serving or not self._socket.is_socket():
            found.append(f"the CNI plugin is not answered at {self._socket}")
        return found

    async def run(self) -> None:
        """Ask ovn-controller, until cancelled."""
        while True:
            self._ovn = await connection_status(self._ovn_run_dir)
            await asyncio.sleep(LOOK_SECONDS)

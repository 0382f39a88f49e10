"""The container of a hook sidecar, as kubelet runs it beside a launcher: the binding plugin for vhost-user NICs."""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from virtnet.lab.daemon import Daemon
from virtnet.lab.standin.kubevirt import SIDECAR, Object

VECTORS = "0"
"""Of each NIC's MSI-X: QEMU 7.2 crashes with others where there is no KVM."""


def requested(pod: Object) -> bool:
    """Whether a launcher pod has one."""
    return any(container["name"] == SIDECAR for container in pod["spec"]["containers"])


@dataclass(frozen=True)
class SidecarContainer:
    """Known by its pod's directory: a later process finds it there."""

    directory: Path
    netns: str

    @property
    def sockets(self) -> Path:
        """What the launcher sees, too: the sidecar makes its socket there."""
        return self.directory / "hooks"

    def start(self) -> None:
        """Start it unless it runs. What it is told of the pod's NICs may be empty at first, as in a cluster."""
        self.sockets.mkdir(exist_ok=True)
        self._network_info.touch()
        self._daemon.start()

    def tell(self, interfaces: Iterable[Object]) -> None:
        """What KubeVirt says of the pod's NICs."""
        self._network_info.write_text(json.dumps({"interfaces": list(interfaces)}))

    def stop(self) -> None:
        self._daemon.stop(grace=0.5)

    @property
    def _network_info(self) -> Path:
        return self.directory / "network-info"

    @property
    def _daemon(self) -> Daemon:
        command = (
            *("ip", "netns", "exec", self.netns, sys.executable, "-m", "virtnet.binding"),
            *("--directory", str(self.sockets), "--network-info", str(self._network_info), "--vectors", VECTORS),
        )
        return Daemon(SIDECAR, command, self.directory)

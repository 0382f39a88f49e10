"""How frames get to the physical network of a NIC as if it had sent them itself."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from virtnet.api import HandoffPath
from virtnet.node.flows import metadata, register
from virtnet.node.journal import Entry
from virtnet.node.netns import inside
from virtnet.node.openflow import inject, socket_of, sources
from virtnet.node.packets import send
from virtnet.ovn.vswitch import VSwitch
from virtnet.topology.names import localnet_name


@dataclass(frozen=True)
class WaysOut:
    """Those of this node."""

    here: str
    """The node's network namespace, as a path."""
    vswitch: VSwitch
    sockets: Path | None
    """Where the switch has its bridges' management sockets; None where they cannot be reached."""
    uplink: Callable[[Entry], str | None]
    """The interface that reaches the network of a NIC that no switch of OVN's has; None for one that has one."""

    async def send(self, entry: Entry, frames: Collection[bytes]) -> None:
        """Raises OSError, TimeoutError and EOFError."""
        uplink = self.uplink(entry)
        if uplink is None:
            await self._through_bridge(entry, frames)
        else:
            await inside(self.here, lambda _: send(uplink, frames))

    async def nested(self, mac: str, path: HandoffPath | None) -> list[str]:
        """The MACs of machines within a guest. Raises OSError and TimeoutError."""
        if path is None or self.sockets is None:
            return []
        found = await sources(socket_of(self.sockets, self.vswitch.bridge), _behind(path))
        return [one for one in found if one != mac]

    async def _through_bridge(self, entry: Entry, frames: Collection[bytes]) -> None:
        """As if from OVN: so the bridge itself learns that the guest is behind OVN's port.

        It may have learnt the guest's MAC from outside, and would then take what comes for it from there for its own.
        """
        network = entry.attachment.underlay.provider_network if entry.attachment.underlay else ""
        bridge = self.vswitch.bridge_mappings.get(network, "")
        patch = self.vswitch.patch(localnet_name(entry.attachment.subnet))
        port = self.vswitch.ofport(patch)
        if not bridge or not port or self.sockets is None:
            raise FileNotFoundError(f"no way to {network}: bridge {bridge!r}, port {patch}")
        await inject(socket_of(self.sockets, bridge), port, frames)


def _behind(path: HandoffPath) -> list[bytes]:
    """The fields of frames from MACs that OVN has learnt at a port."""
    return [metadata(path.datapath), register(14, path.port)]

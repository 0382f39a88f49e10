"""What the node's switch can do for fast NICs."""

import re
from dataclasses import dataclass
from pathlib import Path

from virtnet.api.node_devices import SwitchDpdk
from virtnet.node.devices.reading import SYSFS
from virtnet.node.devices.sysfs import huge_pages
from virtnet.node.devices.tree import Tree
from virtnet.node.dpdk import judged
from virtnet.node.openflow import process_of, socket_of
from virtnet.ovn.errors import OvnUnavailable
from virtnet.ovn.vswitch import VSwitch


@dataclass(frozen=True)
class FastSwitch:
    """The node's switch, and what of the node it needs for vhost-user NICs."""

    vswitch: VSwitch
    sockets: Path | None = None
    """Where it has its management sockets; None: not on this machine, or not known."""

    def process(self) -> int:
        """The switch's. Raises OSError."""
        if self.sockets is None:
            raise FileNotFoundError("Open vSwitch is not on this machine")
        return process_of(socket_of(self.sockets, self.vswitch.bridge))

    def dpdk(self) -> SwitchDpdk:
        """Whether it serves vhost-user NICs now. Raises OSError."""
        return judged(
            self.vswitch.dpdk,
            self.vswitch.datapath,
            huge_pages=bool(huge_pages(Tree(SYSFS))),
            mempools=not self.vswitch.dpdk.initialized or self._has_mempools(),
        )

    def _has_mempools(self) -> bool:
        """As far as can be seen."""
        try:
            return has_mempools(Path(f"/proc/{self.process()}/maps").read_text())
        except OSError:
            return True


def has_mempools(maps: str) -> bool:
    """Whether a process with DPDK can have buffers for NICs: DPDK loads that driver when it starts, if it is installed.

    ``maps``: its memory (proc(5), /proc/PID/maps). A program that DPDK is linked into has all drivers.
    """
    return bool(re.search(r"/librte_mempool_ring\.", maps)) or not re.search(r"/librte_eal\.", maps)


async def asked(ovsdb: str, bridge: str) -> SwitchDpdk:
    """What a switch can do that nobody here follows yet."""
    try:
        vswitch = await VSwitch.connect(ovsdb, bridge)
    except OvnUnavailable as error:
        return SwitchDpdk(reason="OpenVSwitchAway", message=f"Open vSwitch does not answer: {error}")
    try:
        return FastSwitch(vswitch).dpdk()
    finally:
        await vswitch.close()

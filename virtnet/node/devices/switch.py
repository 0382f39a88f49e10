"""What the node's switch can do for fast NICs."""

from virtnet.api.node_devices import SwitchDpdk
from virtnet.node.devices.reading import SYSFS
from virtnet.node.devices.sysfs import huge_pages
from virtnet.node.devices.tree import Tree
from virtnet.node.dpdk import judged
from virtnet.ovn.errors import OvnUnavailable
from virtnet.ovn.vswitch import VSwitch


def switch_dpdk(vswitch: VSwitch) -> SwitchDpdk:
    """Whether it serves vhost-user NICs now. Raises OSError."""
    return judged(vswitch.dpdk, vswitch.datapath, huge_pages=bool(huge_pages(Tree(SYSFS))))


async def asked(ovsdb: str, bridge: str) -> SwitchDpdk:
    """The same, of a switch that nobody here follows yet."""
    try:
        vswitch = await VSwitch.connect(ovsdb, bridge)
    except OvnUnavailable as error:
        return SwitchDpdk(reason="OpenVSwitchAway", message=f"Open vSwitch does not answer: {error}")
    try:
        return switch_dpdk(vswitch)
    finally:
        await vswitch.close()

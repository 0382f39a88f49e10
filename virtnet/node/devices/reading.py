"""All that is known of the node's devices, read once, in the network namespace of the calling thread."""

from pathlib import Path

from virtnet.node import ethtool
from virtnet.node.devices import sysfs
from virtnet.node.devices.found import Found
from virtnet.node.devices.generic import Devlink, vdpa_management_devices
from virtnet.node.devices.ports import ports
from virtnet.node.devices.sysfs import Asked
from virtnet.node.devices.tree import Tree

SYSFS = Path("/sys")
HW_TC_OFFLOAD = "hw-tc-offload"
"""The feature by which a driver takes tc's flows into its NIC."""


def read(root: Path = SYSFS) -> Found:
    """What is there now. Raises OSError."""
    tree = Tree(root)
    with Devlink() as devlink:
        nics = sysfs.nics(tree, Asked(devlink.eswitch_mode, hw_tc_offload, ports()))
    return Found(nics, vdpa_management_devices(), sysfs.huge_pages(tree))


def hw_tc_offload(interface: str) -> str:
    """Whether a NIC may forward by tc's flows itself: on, off, or empty where its driver cannot."""
    try:
        feature = ethtool.feature(interface, HW_TC_OFFLOAD)
    except OSError:
        return ""
    if feature is None or not (feature.active or feature.changeable):
        return ""
    return "on" if feature.active else "off"

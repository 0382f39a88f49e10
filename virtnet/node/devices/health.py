"""Whether a device can do its work, and what to do where it cannot."""

from virtnet.api.node_devices import DeviceHealth
from virtnet.node.devices.found import SWITCHDEV, Function, LinkState, Nic

HEALTHY = DeviceHealth()
VFIO = "vfio-pci"


def of_physical(nic: Nic, link: LinkState | None) -> DeviceHealth:
    """What keeps a physical function from work: what comes first keeps it from most."""
    function, uplink, there = nic.physical, nic.uplink, len(nic.virtual)
    name = uplink.name if uplink else function.address
    if not function.driver:
        return _ill(
            "NoDriver",
            f"{function.address} ({function.vendor}:{function.product}) has no driver; load its module, "
            "or bind it to vfio-pci if a guest is to have the whole NIC",
        )
    if "/" not in function.address and there < nic.told_vfs:
        return _ill(
            "VfsMissing",
            f"{name} has been told to have {nic.told_vfs} VFs and {there} are there; see the kernel's log (dmesg), and "
            f"write 0 and then {nic.told_vfs} to its sriov_numvfs while no guest uses one",
        )
    if link == "Disabled":
        return _ill("LinkDisabled", f"{name} is not up; ip link set {name} up")
    if link == "NoCarrier":
        return _ill("NoCarrier", f"{name} has no carrier; look at its cable and at the port of the switch")
    if nic.eswitch_mode == SWITCHDEV and nic.hw_tc_offload == "off":
        return _ill(
            "OffloadOff",
            f"{name} is in switchdev mode and the CPU forwards all of its traffic; ethtool -K {name} hw-tc-offload on",
        )
    return HEALTHY


def of_virtual(nic: Nic, function: Function, link: LinkState | None, *, represented: bool) -> DeviceHealth:
    """What keeps a virtual function from work. It names no single one, so that those alike are told of together."""
    physical = nic.uplink.name if nic.uplink else nic.physical.address
    if not function.driver:
        return _ill(
            "NoDriver", "no driver; bind them to the NIC's VF driver or to vfio-pci (driver_override, drivers_probe)"
        )
    if function.driver == VFIO and function.iommu_group < 0:
        return _ill(
            "IommuOff",
            "bound to vfio-pci without an IOMMU; enable it in the firmware, and boot with intel_iommu=on (Intel)",
        )
    if function.driver == VFIO and function.shares_group:
        return _ill(
            "GroupShared",
            "their IOMMU groups have other devices, which would go to the guest too; enable ACS in the firmware, "
            "or move the NIC to a slot whose bridge has it",
        )
    if nic.eswitch_mode == SWITCHDEV and not represented:
        return _ill(
            "NoRepresentor",
            f"{physical} is in switchdev mode and has no representors of them; see the kernel's log (dmesg)",
        )
    if link in ("Disabled", "NoCarrier"):
        return _ill("UplinkDown", f"the link of {physical} is down, so they reach nobody outside of this node")
    return HEALTHY


def _ill(reason: str, message: str) -> DeviceHealth:
    return DeviceHealth(healthy=False, reason=reason, message=message)

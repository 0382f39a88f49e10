"""Whether a virtual function can be a NIC, as it was found."""

from virtnet.api.nic_kinds import EXTERNAL_NICS
from virtnet.node.devices.found import SWITCHDEV
from virtnet.node.devices.health import VFIO
from virtnet.node.journal import Entry
from virtnet.node.request import CniError
from virtnet.node.virtual_functions.found import FoundRepresentor, FoundVf
from virtnet.node.virtual_functions.knobs import untold, wanted
from virtnet.node.virtual_functions.physical import VfNow
from virtnet.node.virtual_functions.sysfs import LocatedVf

_HARDWARE = "virtnet node devices prints what this node has, and what keeps each device from work"


def fit(entry: Entry, vf: LocatedVf, found: VfNow) -> FoundVf:
    """What was found, to be undone to. Raises CniError where nothing can be done with it, and says what to do."""
    representor = _represented(entry, vf, found)
    if not found.up:
        raise CniError(CniError.TRY_AGAIN, f"{vf}: {vf.uplink} is down", f"set it up: ip link set {vf.uplink} up")
    if found.knobs is None:
        problem = f"driver {vf.physical_driver} of {vf.uplink} does not tell what it has set for its virtual functions"
        raise CniError(CniError.NETWORK, problem, "use a NIC whose driver does: ip link show must list them")
    needed = wanted(found.knobs, entry.attachment)
    if unknown := untold(found.knobs, needed):
        raise CniError(
            CniError.NETWORK,
            f"driver {vf.physical_driver} does not tell {', '.join(unknown)} of {vf}, so that could not be put back",
            "leave it out of the ClusterSubnet, or keep these pods off nodes with this NIC",
        )
    if vf.driver == VFIO:
        _check_iommu(vf)
    elif found.link is None:
        raise CniError(CniError.TRY_AGAIN, f"driver {vf.driver} of {vf} has made no interface on the node", _HARDWARE)
    elif found.link.master:
        raise CniError(
            CniError.NETWORK,
            f"interface {found.link.name} of {vf} is in a bridge or bond of the node",
            "take it out, or keep this virtual function out of what the device plugin offers",
        )
    return FoundVf(
        number=vf.number,
        physical=vf.physical,
        driver=vf.driver,
        knobs=found.knobs,
        interface=found.link.found if found.link else None,
        representor=representor,
    )


def check(entry: Entry, vf: LocatedVf | None) -> LocatedVf:
    """What can be said without a look at the kernel's settings. Raises CniError."""
    if not entry.device:
        raise CniError(
            CniError.NETWORK,
            f"port {entry.attachment.port}: a NIC of kind {entry.attachment.nic} needs a device, and none is named",
            "give the NetworkAttachmentDefinition the annotation k8s.v1.cni.cncf.io/resourceName, and the pod such a "
            "resource",
        )
    if entry.attachment.underlay is None and entry.attachment.nic in EXTERNAL_NICS:
        raise CniError(
            CniError.NETWORK,
            f"{entry.attachment.subnet}: a NIC of kind {entry.attachment.nic} reaches no overlay",
            "use a Subnet of a ProviderNetwork",
        )
    if vf is None:
        raise CniError(CniError.NETWORK, f"device {entry.device} is no virtual function of this node", _HARDWARE)
    if not vf.uplink:
        raise CniError(CniError.NETWORK, f"{vf}: its physical function {vf.physical} has no interface", _HARDWARE)
    if not vf.driver:
        raise CniError(CniError.NETWORK, f"{vf} has no driver", _HARDWARE)
    return vf


def _represented(entry: Entry, vf: LocatedVf, found: VfNow) -> FoundRepresentor | None:
    """What stands for it in the node's switch; None where it is on the physical network at once."""
    kind, switched, link = entry.attachment.nic, found.eswitch_mode == SWITCHDEV, found.representor
    if switched != (kind not in EXTERNAL_NICS):
        problem = f"{vf}: its NIC is {'' if switched else 'not '}in switchdev mode, and port {entry.attachment.port} is"
        raise CniError(
            CniError.NETWORK,
            f"{problem} of kind {kind}",
            "a NetworkAttachmentDefinition says nic: switchdev for NICs in that mode, and nic: sriov for others; "
            f"devlink dev eswitch show pci/{vf.physical} prints the mode",
        )
    if not switched:
        return None
    if link is None:
        problem = f"{vf}: its NIC is in switchdev mode, and the node has no representor of it"
        raise CniError(CniError.TRY_AGAIN, problem, "see the kernel's log (dmesg)")
    if link.master:
        raise CniError(
            CniError.TRY_AGAIN,
            f"representor {link.name} of {vf} is in a bridge, bond or switch of the node",
            f"take it out (ovs-vsctl del-port {link.name}), or keep this virtual function out of what the device "
            "plugin offers",
        )
    return FoundRepresentor(
        name=link.name,
        mtu=link.mtu,
        up=link.up,
        address_generation=link.address_generation,
        hw_tc_offload=found.hw_tc_offload,
    )


def _check_iommu(vf: LocatedVf) -> None:
    if vf.iommu_group < 0:
        problem = f"{vf} is bound to {VFIO}, and the IOMMU is off"
        raise CniError(CniError.NETWORK, problem, "enable it in the firmware, and boot with intel_iommu=on (Intel)")
    if vf.shares_group:
        problem = f"{vf}: IOMMU group {vf.iommu_group} has other devices, which would go to the guest too"
        raise CniError(CniError.NETWORK, problem, "enable ACS in the firmware, or move the NIC to a slot that has it")

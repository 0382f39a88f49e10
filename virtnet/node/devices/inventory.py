"""What was found -> what is published: alike virtual functions together, and whether each device can do its work."""

from collections.abc import Iterator, Mapping

from virtnet.api.node_devices import MOST_NICS, DeviceHealth, NodeDevices, NodeNicDevice, VirtualFunctions
from virtnet.node.devices import health, ranges
from virtnet.node.devices.found import Found, Function, LinkState, Nic
from virtnet.node.devices.ports import represented_vf


def inventory(found: Found, links: Mapping[str, LinkState]) -> NodeDevices:
    """What is to be published; ``links`` says how the links of interfaces count, where not as they are."""
    order = sorted(found.nics, key=lambda nic: (nic.told_vfs == 0, nic.total_vfs == 0))  # stable: by address
    told = sorted(order[:MOST_NICS], key=lambda nic: nic.physical.address)
    return NodeDevices(
        nics=tuple(_nic(nic, links) for nic in told),
        left_out=len(order) - len(told),
        vdpa_management_devices=found.vdpa_management_devices,
        huge_pages=found.huge_pages,
    )


def _nic(nic: Nic, links: Mapping[str, LinkState]) -> NodeNicDevice:
    physical, uplink = nic.physical, nic.uplink
    link = links.get(uplink.name, uplink.link) if uplink else None
    said = health.of_physical(nic, link)
    return NodeNicDevice(
        address=physical.address,
        interfaces=tuple(interface.name for interface in physical.interfaces),
        driver=physical.driver,
        vendor=physical.vendor,
        product=physical.product,
        numa_node=physical.numa_node,
        iommu_group=physical.iommu_group,
        link=link or "",
        eswitch_mode=nic.eswitch_mode,
        representors=ranges.names(one.port_name for one in nic.representors),
        hw_tc_offload=nic.hw_tc_offload,
        total_vfs=nic.total_vfs,
        vfs=nic.told_vfs,
        virtual_functions=tuple(_alike(nic, link)),
        healthy=said.healthy,
        reason=said.reason,
        message=said.message,
    )


def _alike(nic: Nic, link: LinkState | None) -> Iterator[VirtualFunctions]:
    groups: dict[tuple[str, DeviceHealth], dict[int, Function]] = {}
    represented = {represented_vf(one.port_name) for one in nic.representors}
    for index, function in sorted(nic.virtual.items()):
        said = health.of_virtual(nic, function, link, represented=index in represented)
        groups.setdefault((function.driver, said), {})[index] = function
    for (driver, said), functions in groups.items():
        yield VirtualFunctions(
            indices=ranges.numbers(functions),
            addresses=ranges.addresses(one.address for one in functions.values()),
            driver=driver,
            iommu_groups=ranges.numbers(one.iommu_group for one in functions.values() if one.iommu_group >= 0),
            healthy=said.healthy,
            reason=said.reason,
            message=said.message,
        )

"""Where a virtual function is, by sysfs."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from virtnet.node.devices.ports import Port, uplink
from virtnet.node.devices.sysfs import BRIDGE_CLASS
from virtnet.node.devices.tree import INTERFACE, PCI_ADDRESS, Tree, number

_LINK = re.compile(r"virtfn([0-9]{1,5})", re.ASCII)
_GROUP = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True)
class LocatedVf:
    """A virtual function as sysfs has it now."""

    address: str
    number: int
    physical: str
    """PCI address of its physical function."""
    uplink: str
    """The interface of that; empty where it has none."""
    physical_driver: str
    driver: str
    iommu_group: int
    shares_group: bool
    """Whether that has another device in it that is no bridge."""
    interfaces: tuple[str, ...]
    """Its own, as far as they are in the node's network namespace."""

    def __str__(self) -> str:
        return f"VF {self.number} of {self.uplink or self.physical} ({self.address})"


def locate(tree: Tree, ports: Callable[[], Mapping[str, Port]], address: str) -> LocatedVf | None:
    """A virtual function by its PCI address; None where there is none at it."""
    path = f"bus/pci/devices/{address}"
    physical = tree.target(f"{path}/physfn", PCI_ADDRESS) if PCI_ADDRESS.fullmatch(address) else ""
    above = f"bus/pci/devices/{physical}"
    ours = [name for name in tree.entries(above, _LINK) if tree.target(f"{above}/{name}", PCI_ADDRESS) == address]
    if not physical or not ours:
        return None
    group = number(tree.target(f"{path}/iommu_group", _GROUP), -1)
    return LocatedVf(
        address=address,
        number=int(ours[0].removeprefix("virtfn")),
        physical=physical,
        uplink=uplink(tree, ports, physical),
        physical_driver=tree.target(f"{above}/driver"),
        driver=tree.target(f"{path}/driver"),
        iommu_group=group,
        shares_group=any(_is_no_bridge(tree, other) for other in _members(tree, group) if other != address),
        interfaces=tuple(tree.entries(f"{path}/net", INTERFACE)),
    )


def _members(tree: Tree, group: int) -> Iterator[str]:
    return tree.entries(f"kernel/iommu_groups/{group}/devices", PCI_ADDRESS)


def _is_no_bridge(tree: Tree, address: str) -> bool:
    return not tree.text(f"bus/pci/devices/{address}/class").startswith(BRIDGE_CLASS)

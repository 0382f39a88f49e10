"""Reads the node's devices from sysfs: NICs on PCI with their virtual functions, NICs on other buses, huge pages."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from virtnet.api.node_devices import HugePages
from virtnet.node.devices.found import Function, LinkState, Netdev, Nic
from virtnet.node.devices.ports import Port, port_name, represents
from virtnet.node.devices.tree import INTERFACE, PCI_ADDRESS, WORD, Tree, number

NETWORK_CLASS = "0x02"
BRIDGE_CLASS = "0x06"
MOST_VFS = 4096
"""Of one NIC."""

_VF_LINK = re.compile(r"virtfn([0-9]{1,5})", re.ASCII)
_VIRTIO = re.compile(r"virtio[0-9]+", re.ASCII)
_NODE = re.compile(r"node([0-9]{1,4})", re.ASCII)
_PAGES = re.compile(r"hugepages-([0-9]{1,9})kB", re.ASCII)
_GROUP = re.compile(r"[0-9]{1,9}", re.ASCII)
_IFF_UP = 0x1


@dataclass(frozen=True)
class Asked:
    """What sysfs does not tell, and the kernel was asked for otherwise."""

    eswitch_mode: Callable[[str], str]
    """Of a device, bus/name: legacy, switchdev, or empty."""
    hw_tc_offload: Callable[[str], str]
    """Of an interface: on, off, or empty."""
    ports: Mapping[str, Port] = field(default_factory=dict)
    """What interfaces are the ports of, as far as devlink knows them."""


def nics(tree: Tree, asked: Asked) -> tuple[Nic, ...]:
    """All NICs, by their addresses."""
    return _Reader(tree, asked).nics()


def huge_pages(tree: Tree) -> tuple[HugePages, ...]:
    """Those of each NUMA node and size, where there are any."""
    found = []
    for node in tree.entries("devices/system/node", _NODE):
        for size in tree.entries(f"devices/system/node/{node}/hugepages", _PAGES):
            total = tree.number(f"devices/system/node/{node}/hugepages/{size}/nr_hugepages")
            if total > 0:
                found.append(HugePages(numa_node=int(node[4:]), size_kib=int(size[10:-2]), total=total))
    return tuple(sorted(found, key=lambda pages: (pages.numa_node, pages.size_kib)))


class _Reader:
    def __init__(self, tree: Tree, asked: Asked) -> None:
        self._tree = tree
        self._asked = asked
        self._classes = {
            address: tree.text(f"bus/pci/devices/{address}/class")
            for address in tree.entries("bus/pci/devices", PCI_ADDRESS)
        }
        self._interfaces: dict[str, list[str]] = {}
        for name in tree.entries("class/net", INTERFACE):
            port = asked.ports.get(name)
            if owner := port.device if port else self._owner(name):
                self._interfaces.setdefault(owner, []).append(name)

    def nics(self) -> tuple[Nic, ...]:
        network = {address for address, kind in self._classes.items() if kind.startswith(NETWORK_CLASS)}
        return tuple(
            self._nic(address)
            for address in sorted(network | self._interfaces.keys())
            if not self._tree.link(f"bus/pci/devices/{address}/physfn")
        )

    def _owner(self, interface: str) -> str:
        """The device that an interface is of; empty where it is of none, as a veth."""
        parts = self._tree.link(f"class/net/{interface}").split("/")
        if len(parts) < 5 or "virtual" in parts:
            return ""
        parent, above = parts[-3], parts[-4]
        if _VIRTIO.fullmatch(parent):
            parent = above
        if PCI_ADDRESS.fullmatch(parent):
            return parent
        bus = self._tree.target(f"class/net/{interface}/device/subsystem")
        return f"{bus}/{parent}" if bus and WORD.fullmatch(parent) else ""

    def _virtual(self, address: str) -> dict[int, str]:
        """The addresses of a function's virtual ones that are there, by their numbers."""
        found = {}
        for link in self._tree.entries(f"bus/pci/devices/{address}", _VF_LINK):
            target = self._tree.target(f"bus/pci/devices/{address}/{link}", PCI_ADDRESS)
            if target in self._classes:
                found[int(link.removeprefix("virtfn"))] = target
        return dict(sorted(found.items())[:MOST_VFS])

    def _nic(self, address: str) -> Nic:
        bus, _, name = address.rpartition("/")
        path = f"bus/{bus or 'pci'}/devices/{name}"
        mode = self._asked.eswitch_mode(f"{bus or 'pci'}/{name}")
        ours = self._interfaces.get(address, ())
        interfaces = [(name, port_name(self._tree, self._asked.ports, name)) for name in ours]
        representors = {name for name, port in interfaces if represents(port, mode)}
        physical = self._function(address, path, [found for found in interfaces if found[0] not in representors])
        uplink = next(iter(physical.interfaces), None)
        return Nic(
            physical=physical,
            total_vfs=max(0, self._tree.number(f"{path}/sriov_totalvfs")),
            told_vfs=max(0, self._tree.number(f"{path}/sriov_numvfs")),
            virtual={index: self._vf(vf) for index, vf in self._virtual(address).items()},
            representors=tuple(Netdev(name, "Up", port) for name, port in interfaces if name in representors),
            eswitch_mode=mode,
            hw_tc_offload=self._asked.hw_tc_offload(uplink.name) if uplink else "",
        )

    def _function(self, address: str, path: str, interfaces: list[tuple[str, str]]) -> Function:
        return Function(
            address=address,
            driver=self._tree.target(f"{path}/driver"),
            vendor=_hexadecimal(self._tree.text(f"{path}/vendor")),
            product=_hexadecimal(self._tree.text(f"{path}/device")),
            numa_node=self._tree.number(f"{path}/numa_node", -1),
            iommu_group=(group := self._group(path)),
            shares_group=self._shared(group, address),
            interfaces=tuple(self._uplink(name, port) for name, port in interfaces),
        )

    def _vf(self, address: str) -> Function:
        """Of a virtual function no more than differs from its physical one: there may be a thousand."""
        path = f"bus/pci/devices/{address}"
        group = self._group(path)
        return Function(
            address=address,
            driver=self._tree.target(f"{path}/driver"),
            iommu_group=group,
            shares_group=self._shared(group, address),
            interfaces=tuple(Netdev(name) for name in self._interfaces.get(address, ())),
        )

    def _group(self, path: str) -> int:
        return number(self._tree.target(f"{path}/iommu_group", _GROUP), -1)

    def _shared(self, group: int, address: str) -> bool:
        if group < 0:
            return False
        members = set(self._tree.entries(f"kernel/iommu_groups/{group}/devices", PCI_ADDRESS))
        return any(not self._classes.get(other, "").startswith(BRIDGE_CLASS) for other in members - {address})

    def _uplink(self, interface: str, port_name: str) -> Netdev:
        changes = self._tree.number(f"class/net/{interface}/carrier_changes")
        return Netdev(interface, self._link(interface), port_name, changes)

    def _link(self, interface: str) -> LinkState:
        path = f"class/net/{interface}"
        if not int(_hexadecimal(self._tree.text(f"{path}/flags")) or "0", 16) & _IFF_UP:
            return "Disabled"
        return "Up" if self._tree.text(f"{path}/operstate") in {"up", "unknown"} else "NoCarrier"


def _hexadecimal(text: str) -> str:
    return text[2:] if re.fullmatch("0x[0-9a-f]{1,8}", text, re.ASCII) else ""

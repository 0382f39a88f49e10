"""Builds a sysfs as the kernel has it: directories of devices, and the links that lead from buses and classes to them."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from virtnet.api.node_devices import NodeDevices
from virtnet.node.devices import sysfs
from virtnet.node.devices.found import Found
from virtnet.node.devices.inventory import inventory
from virtnet.node.devices.ports import Port
from virtnet.node.devices.sysfs import Asked
from virtnet.node.devices.tree import Tree

PF = "0000:3b:00.0"


class Sysfs:
    """A sysfs below a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for directory in ("bus/pci/devices", "class/net", "kernel/iommu_groups", "devices/system/node"):
            (root / directory).mkdir(parents=True)

    def pci(
        self,
        address: str,
        kind: str = "0x020000",
        *,
        driver: str = "",
        group: int | None = None,
        numa: int = 0,
        **files: Any,
    ) -> Path:
        """A PCI function."""
        device = self.root / "devices/pci0000:00" / address
        device.mkdir(parents=True)
        self.write(device, {"class": kind, "vendor": "0x8086", "device": "0x1592", "numa_node": numa, **files})
        self.link(self.root / "bus/pci/devices" / address, device)
        self.link(device / "subsystem", self.root / "bus/pci")
        if driver:
            self.bind(address, driver)
        if group is not None:
            members = self.root / f"kernel/iommu_groups/{group}/devices"
            members.mkdir(parents=True, exist_ok=True)
            self.link(members / address, device)
            self.link(device / "iommu_group", members.parent)
        return device

    def bind(self, address: str, driver: str) -> None:
        """Give a function another driver, or none."""
        link = self.root / "bus/pci/devices" / address / "driver"
        link.unlink(missing_ok=True)
        if driver:
            directory = self.root / "bus/pci/drivers" / driver
            directory.mkdir(parents=True, exist_ok=True)
            self.link(link, directory)

    def interface(self, device: Path, name: str, *, flags: str = "0x1003", operstate: str = "up", **files: Any) -> None:
        """A network interface of a device."""
        directory = device / "net" / name
        directory.mkdir(parents=True)
        self.write(directory, {"flags": flags, "operstate": operstate, "carrier_changes": 1, **files})
        self.link(directory / "device", device)
        self.link(self.root / "class/net" / name, directory)

    def virtual(self, name: str) -> None:
        """An interface of no device, as a veth is."""
        directory = self.root / "devices/virtual/net" / name
        directory.mkdir(parents=True)
        self.write(directory, {"flags": "0x1003", "operstate": "up"})
        self.link(self.root / "class/net" / name, directory)

    def nic(self, address: str, name: str, *, total: int = 0, driver: str = "ice", **files: Any) -> Path:
        """A physical function with its interface."""
        sriov: dict[str, Any] = {"sriov_totalvfs": total, "sriov_numvfs": 0} if total else {}
        device = self.pci(address, driver=driver, group=int(address[5:7], 16), **sriov)
        self.interface(device, name, **files)
        return device

    def vfs(self, physical: str, addresses: Sequence[str], *, driver: str = "iavf", groups: int | None = 1000) -> None:
        """Virtual functions of a physical one."""
        above = self.root / "bus/pci/devices" / physical
        (above / "sriov_numvfs").write_text(f"{len(addresses)}\n")
        for index, address in enumerate(addresses):
            device = self.pci(address, driver=driver, group=None if groups is None else groups + index)
            self.link(device / "physfn", above)
            self.link(above / f"virtfn{index}", device)

    def remove(self, address: str) -> None:
        """Take a function out, as the kernel does."""
        link = self.root / "bus/pci/devices" / address
        device = link.resolve()
        for interface in (self.root / "class/net").iterdir():
            if device in interface.resolve().parents:
                interface.unlink()
        link.unlink()
        shutil.rmtree(device)

    def write(self, directory: Path, files: Mapping[str, object]) -> None:
        for name, content in files.items():
            (directory / name).write_text(f"{content}\n")

    def link(self, path: Path, target: Path) -> None:
        path.symlink_to(os.path.relpath(target.parent.resolve() / target.name, path.parent.resolve()))


def bus_addresses(bus: int, count: int, first: int = 0) -> list[str]:
    """PCI addresses that follow each other."""
    return [f"0000:{bus + (place >> 8):02x}:{place >> 3 & 31:02x}.{place & 7}" for place in range(first, first + count)]


def read(
    kernel: Sysfs,
    modes: dict[str, str] | None = None,
    offload: str = "",
    ports: Mapping[str, Port] = MappingProxyType({}),
) -> NodeDevices:
    """What a node would publish that had this sysfs."""
    tree = Tree(kernel.root)
    asked = Asked(lambda device: (modes or {}).get(device, ""), lambda _: offload, ports)
    return inventory(Found(sysfs.nics(tree, asked), (), sysfs.huge_pages(tree)), {})

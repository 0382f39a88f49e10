"""A sysfs as the kernel has it -> what is published."""

from pathlib import Path

import pytest

from tests.devices.sysfs import PF, Sysfs, bus_addresses, read
from virtnet.api.node_devices import MOST_NICS, NodeDevices, NodeNicDevice, VirtualFunctions


@pytest.fixture
def kernel(tmp_path: Path) -> Sysfs:
    return Sysfs(tmp_path / "sys")


def only(found: NodeDevices) -> NodeNicDevice:
    (nic,) = found.nics
    return nic


def test_a_nic_with_virtual_functions(kernel: Sysfs) -> None:
    kernel.nic(PF, "ens1f0", total=128)
    kernel.vfs(PF, bus_addresses(0x3B, 128, first=16))
    assert only(read(kernel)) == NodeNicDevice(
        address=PF, interfaces=("ens1f0",), driver="ice", vendor="8086", product="1592", numa_node=0, iommu_group=0x3B,
        link="Up", total_vfs=128, vfs=128,
        virtual_functions=(
            VirtualFunctions(
                indices="0-127", addresses="0000:3b:02.0-0000:3b:11.7", driver="iavf", iommu_groups="1000-1127"
            ),
        ),
    )  # fmt: skip


def test_virtual_functions_that_differ_are_told_apart(kernel: Sysfs) -> None:
    kernel.nic(PF, "ens1f0", total=4)
    addresses = bus_addresses(0x3B, 4, first=16)
    kernel.vfs(PF, addresses)
    kernel.bind(addresses[1], "vfio-pci")
    kernel.bind(addresses[3], "vfio-pci")
    assert [
        (one.indices, one.driver, one.iommu_groups, one.healthy) for one in only(read(kernel)).virtual_functions
    ] == [
        ("0,2", "iavf", "1000,1002", True),
        ("1,3", "vfio-pci", "1001,1003", True),
    ]


def test_a_virtual_function_whose_directory_is_there_before_its_number_is_no_nic(kernel: Sysfs) -> None:
    """The kernel writes sriov_numvfs once all are there."""
    device = kernel.nic(PF, "ens1f0", total=2)
    kernel.vfs(PF, bus_addresses(0x3B, 2, first=16))
    kernel.write(device, {"sriov_numvfs": 0})
    found = only(read(kernel))
    assert (found.healthy, found.virtual_functions[0].indices) == (True, "0-1")


def test_representors_are_no_uplinks(kernel: Sysfs) -> None:
    device = kernel.pci(PF, driver="mlx5_core", sriov_totalvfs=3)
    kernel.interface(device, "a_rep", phys_port_name="pf0vf0")
    kernel.interface(device, "b_uplink", phys_port_name="p0")
    kernel.interface(device, "c_rep", phys_port_name="pf0vf1")
    kernel.interface(device, "d_host", phys_port_name="c1pf0vf7")
    kernel.vfs(PF, bus_addresses(0x3B, 3, first=2))
    found = only(read(kernel, {f"pci/{PF}": "switchdev"}, "on"))
    assert (found.interfaces, found.representors) == (("b_uplink",), ("c1pf0vf7", "pf0vf0-1"))
    assert [(one.indices, one.reason) for one in found.virtual_functions] == [("0-1", ""), ("2", "NoRepresentor")]


def test_interfaces_of_other_buses_and_of_none(kernel: Sysfs) -> None:
    """A virtio NIC is its PCI function; a netdevsim has a bus of its own; a veth is no device."""
    virtio = kernel.pci("0000:00:03.0", driver="virtio-pci") / "virtio2"
    virtio.mkdir()
    kernel.interface(virtio, "eth0")
    netdevsim = kernel.root / "devices/netdevsim10"
    (kernel.root / "bus/netdevsim/devices").mkdir(parents=True)
    netdevsim.mkdir()
    kernel.link(netdevsim / "subsystem", kernel.root / "bus/netdevsim")
    kernel.link(kernel.root / "bus/netdevsim/devices/netdevsim10", netdevsim)
    kernel.write(netdevsim, {"sriov_numvfs": 2})
    (kernel.root / "bus/netdevsim/drivers/netdevsim").mkdir(parents=True)
    kernel.link(netdevsim / "driver", kernel.root / "bus/netdevsim/drivers/netdevsim")
    kernel.interface(netdevsim, "eth1", phys_port_name="p1")
    kernel.interface(netdevsim, "eth2", phys_port_name="pf0vf0")
    kernel.virtual("veth0")
    found = read(kernel, {"netdevsim/netdevsim10": "switchdev"}, "on").nics
    assert [(nic.address, nic.interfaces, nic.representors, nic.driver, nic.healthy) for nic in found] == [
        ("0000:00:03.0", ("eth0",), (), "virtio-pci", True),
        ("netdevsim/netdevsim10", ("eth1",), ("pf0vf0",), "netdevsim", True),
    ]


def test_huge_pages_of_each_node_and_size(kernel: Sysfs) -> None:
    for node, size, total in ((0, 2048, 576), (0, 1048576, 0), (1, 1048576, 4)):
        pages = kernel.root / f"devices/system/node/node{node}/hugepages/hugepages-{size}kB"
        pages.mkdir(parents=True)
        kernel.write(pages, {"nr_hugepages": total})
    assert [(one.numa_node, one.size_kib, one.total) for one in read(kernel).huge_pages] == [
        (0, 2048, 576),
        (1, 1048576, 4),
    ]


def test_nics_with_virtual_functions_are_told_of_before_others(kernel: Sysfs) -> None:
    for number in range(MOST_NICS + 3):
        kernel.nic(f"0000:{number:02x}:00.0", f"eth{number}", total=8 if number == MOST_NICS + 2 else 0)
    found = read(kernel)
    assert (len(found.nics), found.left_out) == (MOST_NICS, 3)
    assert found.nics[-1].address == f"0000:{MOST_NICS + 2:02x}:00.0"

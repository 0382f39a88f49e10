"""Each thing that may be wrong with a device is brought about, and what people are told of it is what docs/errors.md says."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.devices.sysfs import PF, Sysfs, bus_addresses, read
from tests.messages import DEVICES, Message
from virtnet.api.node_devices import DeviceHealth

VFS = bus_addresses(0x3B, 4, first=16)
SWITCHDEV = {f"pci/{PF}": "switchdev"}

Bring = Callable[[Sysfs], None]


def without_driver(kernel: Sysfs) -> None:
    kernel.bind(PF, "")


def fewer(kernel: Sysfs) -> None:
    kernel.remove(VFS[3])


def interface(**files: str) -> Bring:
    def bring(kernel: Sysfs) -> None:
        kernel.write(kernel.root / "class/net/ens1f0", files)

    return bring


def nothing(_: Sysfs) -> None:
    """The mode and the offload are enough."""


def drivers(driver: str) -> Bring:
    def bring(kernel: Sysfs) -> None:
        for address in VFS:
            kernel.bind(address, driver)

    return bring


def without_iommu(kernel: Sysfs) -> None:
    drivers("vfio-pci")(kernel)
    for address in VFS:
        (kernel.root / "bus/pci/devices" / address / "iommu_group").unlink()


def shared(kernel: Sysfs) -> None:
    drivers("vfio-pci")(kernel)
    for group in range(1000, 1004):
        kernel.pci(f"0000:00:1f.{group - 1000}", "0x010802", group=group)


OF_NIC: dict[str, Bring] = {
    "a NIC without a driver": without_driver,
    "fewer virtual functions than it has been told to have": fewer,
    "a NIC that nobody has set up": interface(flags="0x1002", operstate="down"),
    "a NIC without a cable": interface(operstate="down"),
    "a switchdev NIC whose offload is off": nothing,
}
OF_VFS: dict[str, Bring] = {
    "virtual functions without a driver": drivers(""),
    "virtual functions for guests on a machine without an IOMMU": without_iommu,
    "virtual functions that share an IOMMU group": shared,
    "virtual functions without a representor": nothing,
    "virtual functions of a NIC without a cable": interface(operstate="down"),
}
IN_SWITCHDEV = {"a switchdev NIC whose offload is off", "virtual functions without a representor"}


@pytest.mark.parametrize("row", DEVICES.rows, ids=lambda row: row.given)
def test_people_are_told(tmp_path: Path, row: Message) -> None:
    kernel = Sysfs(tmp_path / "sys")
    kernel.nic(PF, "ens1f0", total=8)
    kernel.vfs(PF, VFS)
    (OF_NIC | OF_VFS)[row.given](kernel)
    nic = next(
        one for one in read(kernel, SWITCHDEV if row.given in IN_SWITCHDEV else {}, "off").nics if one.address == PF
    )
    told: DeviceHealth = nic if row.given in OF_NIC else nic.virtual_functions[0]
    assert (told.healthy, told.reason, told.message) == (False, row.reason, row.message)


def test_a_bridge_in_the_group_of_a_virtual_function_does_no_harm(tmp_path: Path) -> None:
    kernel = Sysfs(tmp_path / "sys")
    kernel.nic(PF, "ens1f0", total=8)
    kernel.vfs(PF, VFS, driver="vfio-pci")
    kernel.pci("0000:3a:00.0", "0x060400", driver="pcieport", group=1000)
    (nic,) = read(kernel).nics
    assert all(one.healthy for one in nic.virtual_functions)

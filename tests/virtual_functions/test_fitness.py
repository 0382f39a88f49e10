"""What keeps a device from being a NIC is said in one sentence, with what to do."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.attach.samples import attachment, journaled
from tests.devices.sysfs import PF, Sysfs
from tests.messages import VIRTUAL_FUNCTIONS, as_told
from tests.virtual_functions.test_knobs import FRESH
from virtnet.node.devices.tree import Tree
from virtnet.node.journal import Entry
from virtnet.node.nics.vf_fitness import check, fit
from virtnet.node.request import CniError
from virtnet.node.virtual_functions.found import FoundRepresentor
from virtnet.node.virtual_functions.interface import VfLink
from virtnet.node.virtual_functions.physical import VfNow
from virtnet.node.virtual_functions.sysfs import LocatedVf, locate

VF = "0000:3b:02.1"
UNDERLAY = {"providerNetwork": "physnet", "vlan": 100, "conflictDetection": False}
LINK = VfLink(
    9,
    VF,
    "ens1v1",
    "02:00:00:00:00:09",
    1500,
    up=False,
    alternative_names=(),
    alias="",
    master=False,
    address_generation=0,
)

REPRESENTOR = replace(LINK, index=10, device=PF, name="ens1r1", mac="02:00:00:00:00:0a", up=True)


def entry(device: str = VF, **changes: Any) -> Entry:
    given = {"nic": "sriov", "underlay": UNDERLAY, **changes}
    return journaled(device=device, attachment=attachment(**given))


@pytest.fixture
def kernel(tmp_path: Path) -> Sysfs:
    """A NIC with four virtual functions."""
    made = Sysfs(tmp_path)
    made.nic(PF, "ens1", total=8)
    made.vfs(PF, [f"0000:3b:02.{number}" for number in range(4)])
    made.interface(made.root / "bus/pci/devices" / VF, "ens1v1")
    return made


def found(kernel: Sysfs, address: str = VF) -> LocatedVf:
    vf = locate(Tree(kernel.root), dict, address)
    assert vf is not None
    return vf


def test_where_it_is(kernel: Sysfs) -> None:
    assert found(kernel) == LocatedVf(
        VF, 1, PF, "ens1", "ice", "iavf", iommu_group=1001, shares_group=False, interfaces=("ens1v1",)
    )
    assert str(found(kernel)) == f"VF 1 of ens1 ({VF})"
    fitting = fit(entry(), check(entry(), found(kernel)), VfNow(up=True, knobs=FRESH, link=LINK))
    assert (fitting.number, fitting.physical, fitting.driver, fitting.interface) == (1, PF, "iavf", LINK.found)


def test_in_switchdev_mode_the_uplink_is_told_from_representors(kernel: Sysfs) -> None:
    device = kernel.root / "bus/pci/devices" / PF
    (device / "net/ens1/phys_port_name").write_text("p0\n")
    for number in range(4):
        kernel.interface(device.resolve(), f"a{number}", phys_port_name=f"pf0vf{number}")
    assert found(kernel).uplink == "ens1"


def test_its_representor_is_to_be_put_back_too(kernel: Sysfs) -> None:
    nic = entry(nic="switchdev", underlay=None)
    now = VfNow(up=True, knobs=FRESH, link=LINK, eswitch_mode="switchdev", representor=REPRESENTOR, hw_tc_offload="off")
    fitting = fit(nic, check(nic, found(kernel)), now)
    assert fitting.representor == FoundRepresentor(
        name="ens1r1", mtu=1500, up=True, address_generation=0, hw_tc_offload="off"
    )


@pytest.mark.parametrize("device", ["0000:3b:09.0", PF, "0000:3b:02.9", "eth0", "../../../etc"])
def test_what_is_no_virtual_function(kernel: Sysfs, device: str) -> None:
    assert locate(Tree(kernel.root), dict, device) is None


def refused(nic: Entry, vf: LocatedVf | None, **now: Any) -> tuple[str, str]:
    with pytest.raises(CniError) as refused:
        fit(nic, check(nic, vf), replace(VfNow(up=True, knobs=FRESH, link=LINK), **now))
    return as_told(refused.value.answer())


WAYS: dict[str, Callable[[LocatedVf], tuple[str, str]]] = {
    "no device": lambda vf: refused(entry(""), vf),
    "an overlay": lambda vf: refused(entry(underlay=None), vf),
    "a device that is no virtual function": lambda _: refused(entry(PF), None),
    "a physical function without an interface": lambda vf: refused(entry(), replace(vf, uplink="")),
    "no driver": lambda vf: refused(entry(), replace(vf, driver="")),
    "a physical function that nobody has set up": lambda vf: refused(entry(), vf, up=False),
    "a NIC whose driver tells nothing of its virtual functions": lambda vf: refused(entry(), vf, knobs=None),
    "a setting that the driver does not tell": lambda vf: refused(
        entry(virtual_function={"trust": True}), vf, knobs=FRESH.model_copy(update={"trust": None})
    ),
    "a driver that makes no interface": lambda vf: refused(entry(), vf, link=None),
    "an interface that the node uses": lambda vf: refused(entry(), vf, link=replace(LINK, master=True)),
    "`sriov`, of a NIC in switchdev mode": lambda vf: refused(entry(), vf, eswitch_mode="switchdev"),
    "`switchdev`, of a NIC in legacy mode": lambda vf: refused(entry(nic="switchdev"), vf, eswitch_mode="legacy"),
    "no representor": lambda vf: refused(entry(nic="switchdev"), vf, eswitch_mode="switchdev"),
    "a representor that the node uses": lambda vf: refused(
        entry(nic="switchdev"), vf, eswitch_mode="switchdev", representor=replace(REPRESENTOR, master=True)
    ),
    "vfio-pci without an IOMMU": lambda vf: refused(entry(), replace(vf, driver="vfio-pci", iommu_group=-1), link=None),
    "vfio-pci, and a group with other devices": lambda vf: refused(
        entry(), replace(vf, driver="vfio-pci", shares_group=True), link=None
    ),
}


@pytest.mark.parametrize("given", WAYS)
def test_people_are_told(kernel: Sysfs, given: str) -> None:
    row = VIRTUAL_FUNCTIONS[given]
    assert WAYS[given](found(kernel)) == (row.reason, row.message)


def test_a_group_is_shared_with_another_device_but_not_with_a_bridge(kernel: Sysfs) -> None:
    kernel.pci("0000:3b:1c.0", "0x060400", group=1001)
    assert not found(kernel).shares_group
    kernel.pci("0000:3b:1d.0", "0x010802", group=1001)
    assert found(kernel).shares_group

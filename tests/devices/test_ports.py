"""Which interfaces stand for which functions: devlink is believed before a port's name in sysfs."""

from pathlib import Path
from typing import Any

import pytest

from tests.devices.sysfs import PF, Sysfs, bus_addresses, read
from virtnet.node.devices.ports import Port, named, portcmd, representor, uplink
from virtnet.node.devices.tree import Tree

PCI = {"BUS_NAME": "pci", "DEV_NAME": PF}
SIMULATED = {"BUS_NAME": "netdevsim", "DEV_NAME": "netdevsim10"}
PHYSICAL, CPU, PCI_PF, PCI_VF, VIRTUAL, PCI_SF = 0, 1, 3, 4, 5, 7


def answer(**attributes: Any) -> portcmd:
    """As it comes from the kernel."""
    sent = portcmd()
    sent["cmd"], sent["version"] = 7, 1
    sent["attrs"] = [[f"DEVLINK_ATTR_{name}", value] for name, value in attributes.items()]
    sent.encode()
    came = portcmd(sent.data)
    came.decode()
    return came


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        pytest.param({**PCI, "PORT_FLAVOUR": PHYSICAL, "PORT_NUMBER": 1}, Port(PF, "p1"), id="wire"),
        pytest.param({**PCI, "PORT_FLAVOUR": PCI_PF, "PORT_PCI_PF_NUMBER": 1}, Port(PF, "pf1"), id="physical function"),
        pytest.param(
            {**PCI, "PORT_FLAVOUR": PCI_VF, "PORT_PCI_PF_NUMBER": 0, "PORT_PCI_VF_NUMBER": 3, "PORT_EXTERNAL": 0},
            Port(PF, "pf0vf3"),
            id="virtual function",
        ),
        pytest.param(
            {**PCI, "PORT_FLAVOUR": PCI_VF, "PORT_PCI_PF_NUMBER": 0, "PORT_PCI_VF_NUMBER": 3, "PORT_EXTERNAL": 1, "PORT_CONTROLLER_NUMBER": 1},
            Port(PF, "c1pf0vf3"),
            id="virtual function of a DPU's host",
        ),
        pytest.param(
            {**SIMULATED, "PORT_FLAVOUR": PCI_SF, "PORT_PCI_PF_NUMBER": 0, "PORT_PCI_SF_NUMBER": 88},
            Port("netdevsim/netdevsim10", "pf0sf88"),
            id="subfunction",
        ),
        pytest.param({**PCI, "PORT_FLAVOUR": CPU}, None, id="port of a CPU"),
        pytest.param({**PCI, "PORT_FLAVOUR": VIRTUAL}, None, id="a function's own port"),
        pytest.param({"BUS_NAME": "pci", "DEV_NAME": "../x", "PORT_FLAVOUR": PHYSICAL, "PORT_NUMBER": 1}, None, id="no device"),
    ],
)  # fmt: skip
def test_a_port_has_the_name_that_the_kernel_gives_it(attributes: dict[str, Any], expected: Port | None) -> None:
    assert named([answer(**attributes, PORT_NETDEV_NAME="eth0")]) == ({"eth0": expected} if expected else {})


def test_a_port_without_an_interface_is_left_out() -> None:
    assert named([answer(**PCI, PORT_FLAVOUR=PHYSICAL, PORT_NUMBER=1)]) == {}


def test_what_devlink_says_comes_before_the_names_of_ports(tmp_path: Path) -> None:
    """A driver may name its ports as it likes, and not tell whose device its representors are."""
    kernel = Sysfs(tmp_path / "sys")
    device = kernel.pci(PF, driver="ice", sriov_totalvfs=3)
    kernel.interface(device, "a_wire", phys_port_name="0")
    kernel.interface(device, "b_rep", phys_port_name="other")
    kernel.interface(device, "c_rep", phys_port_name="pf0vf1")
    kernel.virtual("d_rep")
    kernel.vfs(PF, bus_addresses(0x3B, 3, first=16))
    said = {
        "a_wire": Port(PF, "p0"),
        "b_rep": Port(PF, "pf0vf0"),
        "d_rep": Port(PF, "pf0vf2"),
        "gone": Port(PF, "pf0vf3"),
    }
    (nic,) = read(kernel, {f"pci/{PF}": "switchdev"}, "on", said).nics
    assert (nic.interfaces, nic.representors) == (("a_wire",), ("pf0vf0-2",))
    assert [one.reason for one in nic.virtual_functions] == [""]
    tree = Tree(kernel.root)
    assert uplink(tree, lambda: said, PF) == "a_wire"
    assert [representor(tree, said, PF, vf) for vf in range(3)] == ["b_rep", "c_rep", "d_rep"]


@pytest.mark.parametrize("name", ["", "0", "p0"])
def test_the_only_interface_of_a_nic_is_its_wire_and_stands_for_nobody(tmp_path: Path, name: str) -> None:
    kernel = Sysfs(tmp_path / "sys")
    kernel.nic(PF, "ens1", total=3, phys_port_name=name)
    tree = Tree(kernel.root)
    assert (uplink(tree, dict, PF), representor(tree, {}, PF, 0)) == ("ens1", "")


def test_where_the_wire_has_been_moved_away_nothing_that_is_left_is_it(tmp_path: Path) -> None:
    kernel = Sysfs(tmp_path / "sys")
    kernel.nic(PF, "ens1r0", total=3, phys_port_name="pf0vf0")
    assert uplink(Tree(kernel.root), dict, PF) == ""

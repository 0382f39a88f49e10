"""With a real OVN: ADD returns when ovn-controller has bound the port, and a port that is let go is unbound."""

import asyncio
import socket
import subprocess

import pytest

from tests.attach.rig import Node, eventually
from virtnet.lab.ovn_central import OvnCentral
from virtnet.ovn.ovn_controller import controller_version

PORT = "demo/db.blue"


@pytest.fixture(scope="module")
def central(real_ovn: OvnCentral) -> OvnCentral:
    """OVN with a logical switch with one port."""
    add = ("ls-add", "blue", "--", "lsp-add", "blue", PORT, "--", "lsp-set-addresses", PORT, "02:76:6e:00:00:05")
    real_ovn.nbctl(*add)
    return real_ovn


def chassis(ovn: OvnCentral) -> str:
    """Where the port is bound; empty for nowhere."""
    binding = ovn.sbctl("--bare", "--columns=chassis", "find", "Port_Binding", f'logical_port="{PORT}"').strip()
    return ovn.sbctl("--bare", "get", "Chassis", binding, "name").strip().strip('"') if binding else ""


def test_add_returns_when_the_port_is_bound(node: Node, central: OvnCentral) -> None:
    node.restart_daemon(OVN="real")
    node.pod("old", phase="Running")
    node.add("old", pod="old")
    assert chassis(central) == "chassis-x"
    node.pods["demo/old"]["status"]["phase"] = "Succeeded"
    node.pod("new")
    node.add("new", pod="new")
    assert node.cni("DEL", container="old") == (0, None)
    assert chassis(central) == "chassis-x"
    assert [ids["ovn-installed"] for ids in node.interfaces().values()] == ["true"]
    assert node.cni("DEL", container="new") == (0, None)
    eventually(lambda: chassis(central) == "", "the port is unbound")


@pytest.mark.usefixtures("central")
def test_ovn_says_its_own_version(node: Node) -> None:
    with socket.socket(socket.AF_UNIX) as dead:  # its file stays
        dead.bind(str(node.state / "ovn-controller.1.ctl"))
    says = subprocess.run(["ovn-controller", "--version"], capture_output=True, text=True, check=True).stdout
    assert asyncio.run(controller_version(node.state)) == says.split()[1]


def test_a_port_of_another_chassis_is_taken_back(node: Node, central: OvnCentral) -> None:
    central.nbctl("set", "Logical_Switch_Port", PORT, "options:requested-chassis=elsewhere")
    node.restart_daemon(OVN="real", PATIENCE="0.5")
    node.pod()
    assert node.refused(netns=node.sandbox())["code"] == 11
    assert node.nothing_left
    node.daemon.stop()

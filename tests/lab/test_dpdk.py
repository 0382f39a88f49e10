"""A lab of which one node's switch has DPDK, and what such a lab leaves of the machine's huge pages."""

from collections.abc import Iterator

import pytest

from tests.lab import labs
from virtnet.lab import netns
from virtnet.lab.dpdk import PAGES
from virtnet.lab.hugepages import RECORD, TOTAL
from virtnet.lab.lab import Lab
from virtnet.lab.nodes import Node

pytestmark = pytest.mark.lab

NAME = "dpdk"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with labs.running(NAME, 2, dpdk=1) as up:
        yield up


def total() -> int:
    return int(TOTAL.read_text())


def said(node: Node, column: str) -> str:
    return netns.run("ovs-vsctl", f"--db={node.names.ovsdb}", "get", "Open_vSwitch", ".", column).strip()


def test_its_switch_has_dpdk_and_its_pages_go_with_it_however_it_ends(lab: Lab) -> None:
    node, other = lab.nodes.values()
    assert (node.dpdk, other.dpdk) == (True, False)
    assert said(node, "dpdk_initialized") == "true"
    assert "dpdkvhostuserclient" in said(node, "iface_types")
    assert said(other, "dpdk_initialized") == "false"
    held = total()
    for daemon in lab.daemons.values():
        daemon.kill()
    assert total() == held
    assert lab.down()
    assert total() == held - PAGES
    assert labs.leftovers(NAME) == []
    assert not (RECORD / f"lab-{NAME}").exists()

"""A virtual function of the igb is as it was whenever the daemon is killed, and without its journal; iproute2 says so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attach.rig import eventually, run
from tests.attach.samples import MAC
from tests.hardware.igb import Igb
from tests.hardware.vf_node import ALL, NUMBER, VfNode, links, states

STEPS = 8
"""The interface's own MAC; MAC, VLAN, rates, spoof check and trust at its physical function; the move; the pod's MTU."""
ADD = ("found:0", *(f"vf-do:{step}" for step in range(STEPS)), "attached:0")
DEL = (*(f"vf-undo:{step}" for step in reversed(range(STEPS))), "undo:4")
"""The last: before it is written down that there is no such NIC."""


def found(node: VfNode, nic: Igb) -> tuple[Any, ...]:
    return states(nic)[NUMBER], node.journal()


def test_killed_between_any_two_steps_of_add(node: VfNode, nic: Igb) -> None:
    device, netns, before = nic.vf(NUMBER), node.sandbox(), found(node, nic)
    node.vf_pod("a", device, vlan=100, virtual_function=ALL)
    for step in ADD:
        node.killed_at(step, "ADD", "a", device, netns)
        assert (step, *found(node, nic)) == (step, *before)
    node.killed_at("do:5", "ADD", "a", device, netns)  # it is whole, and the runtime does not know
    assert node.vf("CHECK", "a", device, netns=netns) == (0, None)
    assert node.add_vf("a", device, netns)["interfaces"][0]["pciID"] == device
    assert node.vf("DEL", "a", device, netns=netns) == (0, None)
    assert found(node, nic) == before


def test_killed_between_any_two_steps_of_del(node: VfNode, nic: Igb) -> None:
    device, netns, before = nic.vf(NUMBER), node.sandbox(), found(node, nic)
    node.vf_pod("a", device, vlan=100, virtual_function=ALL)
    for step in DEL:
        node.add_vf("a", device, netns)
        node.killed_at(step, "DEL", "a", device, netns)
        assert (step, *found(node, nic)) == (step, *before)
    assert node.vf("DEL", "a", device, netns=netns) == (0, None)


def test_killed_and_the_pods_namespace_goes(node: VfNode, nic: Igb) -> None:
    """The kernel brings the interface back, under the pod's name for it, while nobody looks."""
    device, netns, before = nic.vf(NUMBER), node.sandbox(), found(node, nic)
    node.vf_pod("a", device, vlan=100, virtual_function=ALL)
    node.add_vf("a", device, netns)
    node.stop_daemon()
    run("ip", "netns", "del", Path(netns).name)
    eventually(lambda: device in links(), "its interface is back")
    node.start_daemon()
    assert found(node, nic) == before


@pytest.fixture
def fleeting(nic: Igb) -> Iterator[Igb]:
    """The igb whose virtual functions are made anew for the next test."""
    yield nic
    nic.set_vfs(0)


def test_without_the_journal(machine: VfNode, fleeting: Igb) -> None:
    """A living pod keeps its NIC. What was found is not known: the next pod leaves what the first has left."""
    nic, device, netns = fleeting, fleeting.vf(0), machine.sandbox()
    machine.restart_daemon()
    machine.vf_pod("a", device, vlan=100)
    machine.add_vf("a", device, netns)
    machine.stop_daemon()
    (record,) = machine.journal()
    record.unlink()
    machine.start_daemon()
    assert links(netns)[device]["address"] == MAC
    assert machine.vf("CHECK", "a", device, netns=netns)[0] == 1
    assert machine.vf("DEL", "a", device, netns=netns) == (0, None)
    run("ip", "netns", "del", Path(netns).name)
    eventually(lambda: device in links(), "its interface is back")
    machine.restart_daemon()
    left = states(nic)[0]
    assert (left["up"], left["ifalias"], left["knobs"]["address"]) == (False, None, MAC)
    machine.forget("a")
    machine.vf_pod("b", device, mac="02:76:6e:00:00:06")
    netns = machine.sandbox()
    machine.add_vf("b", device, netns)
    assert machine.vf("CHECK", "b", device, netns=netns) == (0, None)
    assert machine.vf("DEL", "b", device, netns=netns) == (0, None)
    assert states(nic)[0] == left

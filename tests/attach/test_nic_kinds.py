"""NIC kinds without a port in the switch, and with one of another name, type and options: attached like any other."""

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.attach.more_kinds import OPTIONS, UPLINK, Geneve, Macvlan
from tests.attach.rig import Node, eventually, inside, run
from tests.attach.samples import MAC, attachment, journaled
from virtnet.node.attach import Attacher, Parts
from virtnet.node.handoff.assignments import Assignments
from virtnet.node.nics import Drivers
from virtnet.node.request import CniError

SERVED = {"MORE_KINDS": "yes"}
KINDS = ["macvlan", "geneve"]


@pytest.fixture
def kinds(node: Node) -> Iterator[Node]:
    """A node that serves them."""
    run("ip", "-n", node.name, "link", "add", UPLINK, "type", "bridge")
    node.restart_daemon(**SERVED)
    yield node
    node.restart_daemon(**SERVED)
    assert node.cni("DEL") == (0, None)
    assert parts(node, []) == ([], [], 0)
    node.restart_daemon()
    run("ip", "-n", node.name, "link", "del", UPLINK)


def parts(node: Node, sandboxes: list[str]) -> tuple[list[str], list[str], int]:
    """What there is: the kinds of links in the pods, the types of our interfaces in the switch, and records."""
    found = [link["linkinfo"]["info_kind"] for one in sandboxes for link in inside(one, "-d", "link", "show", "pod1")]
    table = json.loads(node.vsctl("--format=json", "--columns=type,external_ids", "list", "Interface"))
    return found, [row[0] for row in table["data"] if "virtnet/container" in dict(row[1][1])], len(node.journal())


def whole(kind: str) -> tuple[list[str], list[str], int]:
    """The parts of one NIC."""
    return (["macvlan"], [], 1) if kind == "macvlan" else (["bridge"], ["geneve"], 1)


@pytest.mark.parametrize("kind", KINDS)
def test_add_check_and_del(kinds: Node, kind: str) -> None:
    node = kinds
    node.pod(nic=kind)
    netns = node.sandbox()
    result = node.add(netns=netns)
    assert parts(node, [netns]) == whole(kind)
    assert result["interfaces"][-1] == {"name": "pod1", "mac": MAC, "sandbox": netns, "mtu": 1400}
    assert result["ips"] == [{"address": "10.0.0.5/24", "interface": 0 if kind == "macvlan" else 1}]
    assert node.add(netns=netns) == result
    assert node.cni("CHECK", netns=netns) == (0, None)
    run("ip", "-n", Path(netns).name, "link", "del", "pod1")
    assert node.refused("CHECK", netns=netns)["code"] == 5
    node.add(netns=netns)
    assert node.cni("DEL", netns=netns) == (0, None)
    assert parts(node, []) == ([], [], 0)


def test_an_interface_is_made_as_its_driver_says(kinds: Node) -> None:
    node = kinds
    node.pod(nic="geneve")
    name = node.add()["interfaces"][0]["name"]
    interface = node.vsctl("--format=json", "--columns=type,options,mtu_request", "list", "Interface", name)
    ((type_, options, mtu),) = json.loads(interface)["data"]
    assert (type_, dict(options[1]), mtu) == ("geneve", OPTIONS, 1400)
    assert node.interfaces()[name]["iface-id"] == "demo/db.blue"
    node.vsctl("del-port", name)
    eventually(lambda: name in node.interfaces(), "the port is back")


@pytest.mark.parametrize("at", ["do:0", "do:3", "do:5"])
@pytest.mark.parametrize("kind", KINDS)
def test_killed_in_add(kinds: Node, kind: str, at: str) -> None:
    node = kinds
    node.restart_daemon(CRASH_AT=at, **SERVED)
    node.pod(nic=kind)
    netns = node.sandbox()
    assert node.refused(netns=netns)["code"] == 11
    eventually(lambda: node.daemon.pid is None, "the daemon is dead")
    node.start_daemon(**SERVED)
    if at != "do:5":
        assert parts(node, []) == ([], [], 0)
    node.add(netns=netns)
    assert parts(node, [netns]) == whole(kind)


@pytest.mark.parametrize("at", ["undo:0", "undo:3", "undo:4"])
@pytest.mark.parametrize("kind", KINDS)
def test_killed_in_del(kinds: Node, kind: str, at: str) -> None:
    node = kinds
    node.pod(nic=kind)
    netns = node.sandbox()
    node.add(netns=netns)
    node.restart_daemon(CRASH_AT=at, **SERVED)
    assert node.refused("DEL", netns=netns)["code"] == 11
    eventually(lambda: node.daemon.pid is None, "the daemon is dead")
    node.start_daemon(**SERVED)
    assert parts(node, []) == ([], [], 0)


def test_a_lost_journal_costs_no_vm_its_port(kinds: Node) -> None:
    """That its sandbox lives, the port's marks say: no link of the node does."""
    node = kinds
    node.pod(nic="geneve")
    netns = node.sandbox()
    node.add(netns=netns)
    node.daemon.kill()
    for path in node.journal():
        path.unlink()
    node.start_daemon(**SERVED)
    assert parts(node, [netns]) == (["bridge"], ["geneve"], 0)
    assert node.cni("GC", valid=[]) == (0, None)
    assert parts(node, []) == ([], [], 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_nic_of_a_kind_that_a_newer_version_has_attached_is_left_alone(kinds: Node, kind: str) -> None:
    node = kinds
    node.pod(nic=kind)
    netns = node.sandbox()
    node.add(netns=netns)
    node.restart_daemon()
    for command in ("ADD", "DEL", "CHECK"):
        answer = node.refused(command, netns=netns)
        says = "NIC kind" if command == "ADD" else "attached by another version of virtnet-node"
        assert says in answer["msg"], answer
    assert node.cni("GC", valid=[]) == (0, None)
    assert parts(node, [netns]) == whole(kind)
    node.restart_daemon(**SERVED)
    assert node.cni("CHECK", netns=netns) == (0, None)


@pytest.mark.parametrize(("kind", "waits"), [("macvlan", False), ("geneve", True)])
async def test_only_a_nic_with_a_port_is_handed_over(kind: str, *, waits: bool) -> None:
    """A migration's target waits for what the controller says of it."""
    parts = dict.fromkeys((one.name for one in fields(Parts)), None)
    drivers = Drivers({"macvlan": Macvlan("/run/netns/none"), "geneve": Geneve()})
    known: dict[str, Any] = {**parts, "drivers": drivers, "assignments": Assignments(), "patience": 0.0}
    entry = journaled(migration="m1", attachment=attachment(nic=kind))
    if waits:
        with pytest.raises(CniError, match="was not handed over to this node by migration m1"):
            await Attacher(Parts(**known))._armed(entry)
    else:
        await Attacher(Parts(**known))._armed(entry)

"""The tunnels' address: decided by a table, then followed by a real daemon, switch and API server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from tests.attach.rig import Node, eventually, run
from tests.attach.world import World
from tests.messages import NODES
from virtnet.api import Condition, NodeNetwork
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.lab.control_plane import ControlPlane
from virtnet.node.tunnel import BEFORE, ENCAP_IP, WRITTEN, TunnelChoice, TunnelRequest, choose, settings

ON_NODE = {
    "192.0.2.7": frozenset({"eth0"}),
    "192.0.2.1": frozenset({"br-lan", "eth1"}),
    "2001:db8::7": frozenset({"eth0"}),
    "2001:db8:9::1": frozenset({"eth2"}),
}
THEIRS = {ENCAP_IP: "198.51.100.1"}
OURS = {ENCAP_IP: "192.0.2.7", WRITTEN: "192.0.2.7"}
TAKEN = {**OURS, BEFORE: "198.51.100.1"}


def message(given: str) -> str:
    assert NODES[given].reason == "NotAsAsked"
    return NODES[given].message


@pytest.mark.parametrize(
    ("wanted", "current", "address", "problem"),
    [
        pytest.param(TunnelRequest(internal="192.0.2.7"), {}, "192.0.2.7", "", id="nothing set: the node's own"),
        pytest.param(TunnelRequest(internal="192.0.2.7"), THEIRS, "198.51.100.1", "", id="what others have set stays"),
        pytest.param(TunnelRequest("192.0.2.1"), THEIRS, "192.0.2.1", "", id="an annotation goes first"),
        pytest.param(TunnelRequest(device="eth0"), THEIRS, "192.0.2.7", "", id="a device's IPv4 goes before its IPv6"),
        pytest.param(TunnelRequest(device="eth1"), {}, "192.0.2.1", "", id="a device whose bridge has its address"),
        pytest.param(TunnelRequest(device="eth2"), {}, "2001:db8:9::1", "", id="a device with IPv6 alone"),
        pytest.param(TunnelRequest("2001:DB8:0::7"), {}, "2001:db8::7", "", id="however it is written"),
        pytest.param(TunnelRequest(internal="192.0.2.1"), OURS, "192.0.2.1", "", id="ours follows the node"),
        pytest.param(
            TunnelRequest(internal="192.0.2.99"),
            OURS,
            "",
            message("a Node with an address that it does not have"),
            id="not to where it is not",
        ),
        pytest.param(TunnelRequest(internal="192.0.2.9"), TAKEN, "198.51.100.1", "", id="the earlier one comes back"),
        pytest.param(
            TunnelRequest("192.0.2.99"), {}, "", message("an address that the node does not have"), id="not on the node"
        ),
        pytest.param(TunnelRequest("eth0"), {}, "", message("what is no address"), id="no address"),
        pytest.param(TunnelRequest(device="eth9"), {}, "", message("a device without an address"), id="no such device"),
        pytest.param(TunnelRequest("192.0.2.7", "eth0"), {}, "", message("both annotations"), id="both"),
        pytest.param(TunnelRequest(), {}, "", message("a Node without an address"), id="neither, and no own"),
    ],
)
def test_which_address(wanted: TunnelRequest, current: dict[str, str], address: str, problem: str) -> None:
    chosen = choose(wanted, current, ON_NODE)
    assert (chosen.address, chosen.problem) == (address, problem)


def apply(current: dict[str, str], address: str) -> dict[str, str]:
    after: dict[str, Any] = {**current, **settings(TunnelChoice(address), current)}
    return {key: value for key, value in after.items() if value is not None}


def test_what_was_there_before_is_put_back_exactly() -> None:
    first = apply({**THEIRS, "ovn-encap-type": "geneve"}, "192.0.2.7")
    second = apply(first, "192.0.2.1")
    assert second == {
        ENCAP_IP: "192.0.2.1", WRITTEN: "192.0.2.1", BEFORE: "198.51.100.1", "ovn-encap-type": "geneve",
    }  # fmt: skip
    back = choose(TunnelRequest(internal="192.0.2.9"), second, ON_NODE)
    assert apply(second, back.address) == {**THEIRS, "ovn-encap-type": "geneve"}


def test_a_bare_switch_gets_an_encapsulation_too() -> None:
    assert apply({}, "192.0.2.7") == {**OURS, "ovn-encap-type": "geneve"}
    assert apply({"ovn-encap-type": "vxlan"}, "192.0.2.7")["ovn-encap-type"] == "vxlan"
    assert settings(TunnelChoice(problem="none"), THEIRS) == {}


@pytest.fixture
async def annotated(node: Node, cluster: Cluster, api_server: ControlPlane) -> AsyncIterator[Node]:
    """A node with a device of its own for tunnels, which the API server knows and whose daemon runs."""
    run("ip", "-netns", node.name, "link", "add", "storage0", "type", "bridge")
    run("ip", "-netns", node.name, "address", "add", "192.0.2.7/24", "dev", "storage0")
    await cluster.create(kinds.NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name}})
    node.restart_daemon(KUBECONFIG=str(api_server.kubeconfig))
    yield node
    with suppress(Exception):
        await cluster.delete(kinds.NODES, node.name)
    run("ip", "-netns", node.name, "link", "del", "storage0")
    node.clean()


@pytest.mark.system
async def test_the_address_follows_the_node_object_and_its_device(annotated: Node, cluster: Cluster) -> None:
    node = annotated

    async def ask(**annotations: str | None) -> None:
        body = {"metadata": {"annotations": {f"virtnet.dev/tunnel-{key}": value for key, value in annotations.items()}}}
        await cluster.patch(kinds.NODES, node.name, body)

    async def until(address: str) -> None:
        where = ("get", "Open_vSwitch", ".", "external_ids:ovn-encap-ip")
        await asyncio.to_thread(eventually, lambda: node.vsctl(*where) == f'"{address}"', f"tunnels end at {address}")

    await ask(device="storage0")
    await until("192.0.2.7")
    run("ip", "-netns", node.name, "address", "del", "192.0.2.7/24", "dev", "storage0")
    run("ip", "-netns", node.name, "address", "add", "192.0.2.8/24", "dev", "storage0")
    await until("192.0.2.8")

    await ask(device=None, address="203.0.113.1")

    def said(own: NodeNetwork) -> list[Condition]:
        return [one for one in own.status.conditions if one.type == "Tunnel" and one.status == "False"]

    own = await World(node, cluster, "").until(said, "it is told of")
    (found,) = said(own)
    row = NODES["an address that the node does not have"]
    assert (found.reason, found.message) == (row.reason, row.message.replace("192.0.2.99", "203.0.113.1"))
    await until("192.0.2.8")
    run("ip", "-netns", node.name, "address", "add", "203.0.113.1/24", "dev", "storage0")
    await until("203.0.113.1")

    await ask(address=None)
    await until("127.0.0.1")


@pytest.mark.system
async def test_an_internal_ip_that_the_node_does_not_have(annotated: Node, cluster: Cluster) -> None:
    """It is told of; the last good address stays, and the right one is taken once it is there."""
    node = annotated
    where = ("--if-exists", "get", "Open_vSwitch", ".", "external_ids:ovn-encap-ip")
    before = node.vsctl("get", "Open_vSwitch", ".", "external_ids")
    node.vsctl("remove", "Open_vSwitch", ".", "external_ids", "ovn-encap-ip")

    async def say(address: str) -> None:
        status = {"status": {"addresses": [{"type": "InternalIP", "address": address}]}}
        await cluster.patch(kinds.NODES, node.name, status, subresource="status")

    async def until(address: str) -> None:
        await asyncio.to_thread(eventually, lambda: node.vsctl(*where) == f'"{address}"', f"tunnels end at {address}")

    await say("192.0.2.7")
    await until("192.0.2.7")
    await say("203.0.113.9")
    row = NODES["a Node with an address that it does not have"]
    message = row.message.replace("192.0.2.99", "203.0.113.9")
    conditions = [("Tunnel", "False", row.reason, message)]
    await World(node, cluster, "").until(
        lambda own: (
            [(c.type, c.status, c.reason, c.message) for c in own.status.conditions if c.type == "Tunnel"] == conditions
        ),
        "it is told of",
    )
    assert node.vsctl(*where) == '"192.0.2.7"'
    run("ip", "-netns", node.name, "address", "add", "203.0.113.9/24", "dev", "storage0")
    await until("203.0.113.9")
    await say("192.0.2.7")
    await until("192.0.2.7")
    node.vsctl("clear", "Open_vSwitch", ".", "external_ids", "--", "set", "Open_vSwitch", ".", f"external_ids={before}")

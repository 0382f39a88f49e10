"""A node that OVN does not know: it is told, and what is in its way goes, where it is no node's any more."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.controllers.conftest import World, until
from tests.messages import NODES as NODE_MESSAGES
from virtnet.api import NodeNetwork, NodeNetworkStatus
from virtnet.api.meta import Metadata
from virtnet.api.node_network import CHASSIS_MISSING
from virtnet.engine.graph import Graph
from virtnet.engine.outcome import ConditionState
from virtnet.features.chassis_conflicts import former_chassis, missing_state, stale_chassis
from virtnet.features.node_parts import NODE_NETWORKS
from virtnet.features.nodes import NodeLabels
from virtnet.features.ovn_state import CHASSIS, Chassis
from virtnet.features.sources import NODES
from virtnet.kube import kinds
from virtnet.node.publish import former_chassis as had_before

NODE_NETWORK = kinds.of(NodeNetwork)
ADDRESS = "192.0.2.5"
OLD, NEW, OTHER = (Chassis(name, frozenset({ADDRESS})) for name in ("old", "new", "other"))


def cluster(
    known: list[Chassis], there: tuple[str, ...], says: dict[str, str], former: dict[str, tuple[str, ...]]
) -> Graph:
    """``says``, ``former``: the chassis that each node says to be, and to have been."""
    graph = Graph()
    for chassis in known:
        graph.put(CHASSIS, CHASSIS.key(chassis.name), chassis)
    for name in there:
        node = {"metadata": {"name": name}}
        graph.put(NODES, NODES.key(name), NodeLabels.of(node))
    for name, chassis_name in says.items():
        status = NodeNetworkStatus(chassis=chassis_name, encap_ips=(ADDRESS,), former_chassis=former.get(name, ()))
        graph.put(NODE_NETWORKS, NODE_NETWORKS.key(name), NodeNetwork(metadata=Metadata(name=name), status=status))
    return graph


def decided(
    known: list[Chassis], there: tuple[str, ...] = ("n1", "n2"), **says: str
) -> tuple[list[str], ConditionState]:
    """Which chassis are to go for n1's sake, and what it is told. ``says``: the chassis that each node says to be."""
    graph = cluster(known, there, says, {})
    stale = graph.peek(lambda reader: [name for name, _ in stale_chassis("n1", reader)])
    return stale, graph.peek(lambda reader: missing_state("n1", reader))


@pytest.mark.parametrize(
    ("known", "says", "there", "stale", "message"),
    [
        pytest.param([NEW], {"n1": "new"}, ("n1",), [], "", id="it is known"),
        pytest.param([], {"n1": "new"}, ("n1",), [], "is ovn-controller running on n1", id="it has not come yet"),
        pytest.param([OLD], {"n1": "new"}, ("n1",), ["old"], "is ovn-controller", id="it was installed anew"),
        pytest.param(
            [OTHER], {"n1": "new", "n2": "other"}, ("n1",), ["other"], "n2 (other)", id="of a node that is gone"
        ),
        pytest.param([OTHER], {"n1": "new", "n2": "other"}, ("n1", "n2"), [], "n2 (other)", id="of one that is there"),
        pytest.param([OLD], {"n1": "new"}, (), [], "is ovn-controller", id="it is no node itself"),
        pytest.param([Chassis("far", frozenset({"192.0.2.6"})), NEW], {"n1": "new"}, ("n1",), [], "", id="of others"),
    ],
)
def test_what_is_in_the_way_of_a_node(
    known: list[Chassis], says: dict[str, str], there: tuple[str, ...], stale: list[str], message: str
) -> None:
    found, condition = decided(known, there, **says)
    assert found == stale
    assert message in condition.message
    assert condition.holds == bool(message)


FAR = Chassis("far", frozenset({"192.0.2.6"}))


@pytest.mark.parametrize(
    ("known", "says", "there", "gone"),
    [
        pytest.param([FAR, NEW], {"n1": "new"}, ("n1",), [("far", "192.0.2.6")], id="installed anew, moved"),
        pytest.param([FAR], {"n1": "new"}, ("n1",), [("far", "192.0.2.6")], id="before OVN knows it"),
        pytest.param([NEW], {"n1": "new"}, ("n1",), [], id="it has ended in an orderly way"),
        pytest.param([FAR], {"n1": "far"}, ("n1",), [], id="it is that again"),
        pytest.param([FAR, NEW], {"n1": "new", "n2": "far"}, ("n1", "n2"), [], id="another is that now"),
        pytest.param(
            [FAR, NEW], {"n1": "new", "n2": "far"}, ("n1",), [("far", "192.0.2.6")], id="another was, and is gone"
        ),
        pytest.param([FAR, NEW], {"n1": "new"}, (), [], id="it is no node itself"),
    ],
)
def test_what_a_node_was_before(
    known: list[Chassis], says: dict[str, str], there: tuple[str, ...], gone: list[tuple[str, str]]
) -> None:
    graph = cluster(known, there, says, {"n1": ("far",)})
    assert graph.peek(lambda reader: [*former_chassis("n1", reader)]) == gone


@pytest.mark.parametrize(
    ("before", "chassis", "former"),
    [
        ((), "b", ("a",)),
        ((), "a", ()),
        ((), "", ()),
        (("z",), "b", ("z", "a")),
        (("b",), "b", ("a",)),
        (tuple("stuvwxyz"), "b", tuple("tuvwxyza")),
    ],
)
def test_what_a_node_says_that_it_was(before: tuple[str, ...], chassis: str, former: tuple[str, ...]) -> None:
    assert had_before(NodeNetworkStatus(chassis="a", former_chassis=before), chassis) == former


def test_the_words() -> None:
    known = [Chassis("chassis-y", frozenset({"192.0.2.7"}))]
    for given, chassis in (
        ("an OVN that does not know the node", []),
        ("an OVN that does not know it for its address", known),
    ):
        graph = Graph()
        for one in chassis:
            graph.put(CHASSIS, CHASSIS.key(one.name), one)
        for name, own in (("node1", "chassis-x"), ("node2", "chassis-y")):
            status = NodeNetworkStatus(chassis=own, encap_ips=("192.0.2.7",))
            graph.put(NODE_NETWORKS, NODE_NETWORKS.key(name), NodeNetwork(metadata=Metadata(name=name), status=status))
        found = graph.peek(lambda reader: missing_state("node1", reader))
        assert (found.reason, found.message) == (NODE_MESSAGES[given].reason, NODE_MESSAGES[given].message)


@pytest.fixture
async def nodes(world: World) -> AsyncIterator[tuple[str, str]]:
    names = (f"{world.namespace}-1", f"{world.namespace}-2")
    for name in names:
        await world.cluster.create(kinds.NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        body = {"apiVersion": "virtnet.dev/v1alpha1", "kind": "NodeNetwork", "metadata": {"name": name}}
        await world.cluster.create(NODE_NETWORK, body)
    yield names
    for name in names:
        await world.cluster.delete(NODE_NETWORK, name)
    await world.cluster.delete(kinds.NODES, names[0])


@pytest.mark.system
async def test_a_node_is_installed_anew_and_another_gets_its_address(world: World, nodes: tuple[str, str]) -> None:
    one, two = nodes
    first, second = f"first-{one}", f"second-{one}"

    async def say(name: str, chassis: str) -> None:
        status: dict[str, Any] = {"status": {"chassis": chassis, "encapIps": [ADDRESS]}}
        await world.cluster.patch(NODE_NETWORK, name, status, subresource="status")

    async def missing(name: str) -> str:
        own = NodeNetwork.parse(await world.cluster.get(NODE_NETWORK, name))
        return next((c.message for c in own.status.conditions if c.type == CHASSIS_MISSING and c.status == "True"), "")

    async def gone(chassis: str) -> bool:
        return not world.ovn.sbctl("--bare", "--columns=name", "find", "Chassis", f"name={chassis}")

    world.ovn.sbctl("chassis-add", first, "geneve", ADDRESS)
    await say(one, second)
    await until(lambda: gone(first), "the chassis of before goes")

    async def reported() -> bool:
        return f"OVN has no chassis {second}; is ovn-controller running on {one}" in await missing(one)

    await until(reported, "it is told that OVN does not know it")
    world.ovn.sbctl("chassis-add", second, "geneve", ADDRESS)

    async def known() -> bool:
        return not await missing(one)

    await until(known, "OVN knows it")

    await installed_anew_elsewhere(world, one, second)
    await say(two, f"third-{one}")

    async def refused() -> bool:
        return f"its address {ADDRESS} is that of {one} ({second})" in await missing(two)

    await until(refused, "the other is told whose address it has")
    assert not await gone(second)
    await world.cluster.delete(kinds.NODES, one)
    await until(lambda: gone(second), "the chassis of the node that is gone goes")
    await world.cluster.create(kinds.NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": one}})
    await world.cluster.delete(kinds.NODES, two)


async def installed_anew_elsewhere(world: World, node: str, chassis: str) -> None:
    """A chassis of before whose address nobody else has goes as well; one that is back is somebody's."""
    before = f"before-{node}"
    world.ovn.sbctl("chassis-add", before, "geneve", "192.0.2.6")
    said = {"status": {"chassis": chassis, "formerChassis": [before], "encapIps": [ADDRESS]}}
    await world.cluster.patch(NODE_NETWORK, node, said, subresource="status")

    async def chassis_names() -> set[str]:
        return set(world.ovn.sbctl("--bare", "--columns=name", "list", "Chassis").split())

    async def gone() -> bool:
        return before not in await chassis_names()

    await until(gone, "what the node was before goes")
    assert chassis in await chassis_names()
    world.ovn.sbctl("chassis-add", before, "geneve", "192.0.2.6")
    await until(lambda: logged(world, "a node's former chassis is back"), "it is left alone")
    assert before in await chassis_names()
    world.ovn.sbctl("chassis-del", before)


async def logged(world: World, text: str) -> bool:
    return text in world.controller.log.read_text()

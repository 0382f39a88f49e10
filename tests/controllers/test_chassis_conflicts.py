"""Two nodes with one system-id: both are told of the other, and of the end of it."""

import json

import pytest

from tests.controllers.conftest import World, until
from virtnet.api import NodeNetwork, NodeNetworkStatus, set_condition
from virtnet.api.meta import Metadata
from virtnet.engine.graph import Graph
from virtnet.engine.outcome import ConditionState, with_conditions
from virtnet.features.chassis_conflicts import CHASSIS_CONFLICT, chassis_state
from virtnet.features.node_parts import NODE_NETWORKS
from virtnet.kube import kinds
from virtnet.kube.kinds import EVENTS

NODES = kinds.of(NodeNetwork)


def node(name: str, chassis: str = "ch1") -> NodeNetwork:
    return NodeNetwork(metadata=Metadata(name=name), status=NodeNetworkStatus(chassis=chassis))


def state(own: NodeNetwork, *others: NodeNetwork) -> ConditionState:
    graph = Graph()
    for one in (own, *others):
        graph.put(NODE_NETWORKS, NODE_NETWORKS.key(one.name), one)
    return graph.peek(lambda reader: chassis_state(own.name, reader))


@pytest.mark.parametrize(
    ("own", "others", "named"),
    [
        (node("n1"), [], ""),
        (node("n1"), [node("n2")], "n2"),
        (node("n1"), [node("n3"), node("n2")], "n2, n3"),
        (node("n1"), [node(f"n{number}") for number in range(2, 8)], "n2, n3, n4 and 3 more"),
        (node("n1", ""), [node("n2", "")], ""),
    ],
)
def test_a_node_is_told_who_else_has_its_name(own: NodeNetwork, others: list[NodeNetwork], named: str) -> None:
    found = state(own, *others)
    assert found.message.startswith(f"n1 has the external_ids:system-id of {named}, ch1, and" if named else "")
    assert found.holds == bool(found.message) == bool(named)


def test_the_condition_stays_where_it_is_in_the_list() -> None:
    """The node's daemon writes the same list: neither may find it changed by the other's write of the same."""
    ready = set_condition((), "Ready", status=True, reason="Ready")
    shared, own = state(node("n1"), node("n2")), state(node("n1"))
    conditions = with_conditions(ready, [shared], 1)
    assert [(one.type, one.status) for one in conditions] == [("Ready", "True"), (CHASSIS_CONFLICT, "True")]
    assert set_condition(conditions, "Ready", status=True, reason="Ready") == conditions
    assert with_conditions(conditions, [shared], 1) == conditions
    over = with_conditions(conditions, [own], 1)
    assert [(one.type, one.status, one.reason) for one in over][1:] == [(CHASSIS_CONFLICT, "False", "Unique")]
    assert with_conditions(ready, [own], 1) == ready


@pytest.mark.system
async def test_two_nodes_with_one_system_id_are_told_of(world: World) -> None:
    names = [f"{world.namespace}-{number}" for number in (1, 2)]

    async def say(name: str, chassis: str) -> None:
        await world.cluster.patch(NODES, name, {"status": {"chassis": chassis}}, subresource="status")

    async def conflicts() -> list[str | None]:
        nodes = [NodeNetwork.parse(await world.cluster.get(NODES, name)) for name in names]
        found = [{one.type: one.status for one in one.status.conditions} for one in nodes]
        return [one.get(CHASSIS_CONFLICT) for one in found]

    for name in names:
        manifest = {"apiVersion": "virtnet.dev/v1alpha1", "kind": "NodeNetwork", "metadata": {"name": name}}
        await world.cluster.create(NODES, manifest)
        await say(name, f"ch-{world.namespace}")

    async def both() -> bool:
        return await conflicts() == ["True", "True"]

    await until(both, "both nodes told")

    async def events() -> bool:
        items, _ = await world.cluster.list(EVENTS, "default", fields=f"reason={CHASSIS_CONFLICT}")
        return {item["regarding"]["name"] for item in items} >= set(names)

    await until(events, f"an Event on each: {json.dumps(names)}")
    await say(names[1], f"ch2-{world.namespace}")

    async def neither() -> bool:
        return await conflicts() == ["False", "False"]

    await until(neither, "the end of it told")
    for name in names:
        await world.cluster.delete(NODES, name)

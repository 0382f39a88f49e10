"""Which policies a node is told of, and what a policy says of nodes."""

from typing import Any

import pytest

from virtnet.api import NicPolicy, NicPolicyOnNode, NodeNetwork
from virtnet.engine.graph import Graph, Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import status_after
from virtnet.features.nic_policy import (
    KEPT_FAILURES,
    NIC_POLICIES,
    WAITING,
    nic_policy_in_use,
    placed_policies,
    report_nic_policy,
    summary,
)
from virtnet.features.node_network import report_node_network
from virtnet.features.node_parts import NODE_NETWORKS
from virtnet.features.nodes import NodeLabels
from virtnet.features.sources import NODES

DONE = {"address": "0000:3b:00.0", "interface": "ens1", "vfs": 4, "ready": True, "reason": "Configured"}
BUSY = {**DONE, "ready": False, "reason": "VfInUse", "message": "VF 2 of ens1 is pod demo/db's"}


def policy(name: str = "fast", day: int = 1, rack: str = "", **metadata: Any) -> NicPolicy:
    stamp = f"2026-01-{day:02d}T00:00:00Z"
    spec = {"nics": {"names": ["ens1"]}, "vfs": 4, "nodeSelector": {"rack": rack} if rack else {}}
    return NicPolicy.parse(
        {"metadata": {"name": name, "generation": 3, "creationTimestamp": stamp, **metadata}, "spec": spec}
    )


def told(*nics: dict[str, Any], generation: int = 3) -> NicPolicyOnNode:
    return NicPolicyOnNode.model_validate({"generation": generation, "nics": nics})


def world(*policies: NicPolicy, said: dict[str, NicPolicyOnNode] | None = None) -> Graph:
    """Nodes a and b in the racks of these names, of which a has an answer for the policy ``fast``."""
    graph = Graph()
    for one in policies:
        graph.put(NIC_POLICIES, ObjectKey.of(one), one)
    for name in "ab":
        graph.put(NODES, NODES.key(name), NodeLabels(name, {"rack": name}))
        node = NodeNetwork.parse({"metadata": {"name": name}})
        if said and name in said:
            status = node.status.model_copy(update={"nic_policies": {"fast": said[name]}})
            node = node.model_copy(update={"status": status})
        graph.put(NODE_NETWORKS, NODE_NETWORKS.key(name), node)
    return graph


def placed(graph: Graph, node: str) -> list[str]:
    return [one.name for one in placed_policies(NODES.key(node), Reader(graph))]


def test_a_node_has_the_policies_of_its_labels_the_eldest_first() -> None:
    graph = world(
        policy("b", 2),
        policy("a", 3),
        policy("c", 1, rack="b"),
        policy("gone", deletionTimestamp="2026-02-01T00:00:00Z"),
    )
    assert (placed(graph, "a"), placed(graph, "b"), placed(graph, "none")) == (["b", "a"], ["c", "b", "a"], [])


def test_a_policy_stored_before_a_rule_is_told_to_nobody() -> None:
    wrong = NicPolicy.parse({"metadata": {"name": "fast"}, "spec": {"nics": {"names": ["a/b"]}, "vfs": 1}})
    graph = world(wrong)
    assert placed(graph, "a") == []
    report = report_nic_policy(ObjectKey.of(wrong), Reader(graph))
    assert report
    (state,) = report.conditions
    assert (state.holds, state.reason, "nics.names[0]: 'a/b'" in state.message) == (False, "Invalid", True)


def test_a_node_is_asked_for_what_has_changed() -> None:
    graph, key = world(policy()), NODE_NETWORKS.key("a")
    report = report_node_network(key, Reader(graph))
    assert report
    (request,) = report.request["nicPolicies"]
    assert request == {
        "name": "fast", "generation": 3, "nics": {"names": ["ens1"], "addresses": [], "vendors": [], "drivers": []},
        "vfs": 4, "externallyManaged": False,
    }  # fmt: skip
    node = NodeNetwork.parse({"metadata": {"name": "a"}, "spec": {**report.request}})
    graph.put(NODE_NETWORKS, key, node)
    report = report_node_network(key, Reader(graph))
    assert report
    assert "nicPolicies" not in report.request


@pytest.mark.parametrize(
    ("said", "reason", "counts"),
    [
        pytest.param({"a": told(DONE), "b": told(DONE)}, "Configured", (2, 2, 2), id="done"),
        pytest.param({"a": told(DONE), "b": None}, WAITING, (2, 1, 1), id="no answer"),
        pytest.param({"a": told(DONE, generation=2)}, WAITING, (1, 1, 1), id="an answer to what was said before"),
        pytest.param({"a": told(BUSY), "b": told(DONE)}, "VfInUse", (2, 2, 1), id="something in the way"),
        pytest.param({"a": told(BUSY, generation=0)}, "VfInUse", (1, 1, 0), id="not undone yet"),
        pytest.param(
            {"a": told(DONE).model_copy(update={"reason": "OpenVSwitchAway"})},
            "OpenVSwitchAway",
            (1, 1, 1),
            id="a switch",
        ),
        pytest.param({"a": told(DONE), "b": told()}, "Configured", (2, 1, 1), id="a node without such a NIC"),
        pytest.param({"a": told()}, "NoNics", (1, 0, 0), id="no such NIC anywhere"),
        pytest.param({}, "NoNodes", (0, 0, 0), id="no node"),
    ],
)
def test_how_a_policy_is_doing(
    said: dict[str, NicPolicyOnNode | None], reason: str, counts: tuple[int, int, int]
) -> None:
    found = status_after(policy(), summary(policy(), said))
    assert found.conditions[0].reason == reason  # type: ignore[attr-defined]
    assert (found.nodes, found.nics, found.ready) == counts  # type: ignore[attr-defined]


def test_a_policy_of_switches_alone_needs_no_nic() -> None:
    of_switches = NicPolicy.parse({"metadata": {"name": "fast", "generation": 3}, "spec": {"dpdk": {}}})
    (state,) = summary(of_switches, {"a": told()}).conditions
    assert (state.holds, state.reason) == (True, "Configured")


def test_its_status_is_small_on_many_nodes_and_told_once() -> None:
    said: dict[str, NicPolicyOnNode | None] = {f"node{number:04}": told(*[BUSY] * 8) for number in range(1000)}
    first = summary(policy(), said)
    status = status_after(policy(), first)
    assert len(first.announcements) == KEPT_FAILURES
    assert len(status.model_dump_json()) < 32 << 10
    assert status.conditions[0].message.endswith("; and 7999 more")  # type: ignore[attr-defined]
    assert summary(policy().model_copy(update={"status": status}), said).announcements == ()


def test_it_is_in_use_until_its_nodes_have_undone_it() -> None:
    deleted = policy(deletionTimestamp="2026-02-01T00:00:00Z")
    graph = world(deleted, said={"b": told(BUSY, generation=0)})
    assert nic_policy_in_use(deleted, Reader(graph)) == f"1 Nodes, one of them b ({BUSY['message']})"
    graph = world(deleted, said={"a": told(DONE)})
    assert nic_policy_in_use(deleted, Reader(graph)) == "1 Nodes, one of them a"
    graph.put(NODES, NODES.key("a"), None)
    assert nic_policy_in_use(deleted, Reader(graph)) == ""
    assert nic_policy_in_use(deleted, Reader(world(deleted))) == ""

"""Which Port_Groups of network policies a NIC is in, and whom a change concerns."""

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policies.cases import FAMILIES, expression, policy
from tests.policies.oracle import Manifest
from tests.policies.world import NAMESPACE_LABELS, endpoints, graph_of, policy_rows, port_of, put, rows_of_port
from virtnet.api import Port
from virtnet.api.named_ports import NamedPort, instance_networks, pod_ports
from virtnet.api.network_policy import policy_networks, read_policy
from virtnet.engine.due import Task
from virtnet.engine.graph import Graph, Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.selector import Requirement, Selector
from virtnet.features.network_policies import NETWORK_POLICY
from virtnet.features.policy_groups import NAMESPACES, PEERS, NamespaceLabels, hooks_of
from virtnet.features.policy_membership import policies_of
from virtnet.features.security_groups import groups_of_port
from virtnet.features.sources import PODS
from virtnet.features.workloads import Pod

PORTS = {ObjectKey.of(port): port for port in map(port_of, endpoints())}
A = ObjectKey("Port", "x", "a.eth0")
ONE = FAMILIES["directions"][1].policies[0]


def selecting(name: str, namespace: str = "x", **labels: str) -> Manifest:
    return policy(name, namespace, podSelector={"matchLabels": labels})


def members(graph: Graph) -> dict[str, set[str]]:
    """Policy -> its NICs."""
    found: dict[str, set[str]] = {}
    for port in PORTS.values():
        for one in graph.peek(partial(policies_of, port)).policies:
            found.setdefault(str(one.key), set()).add(port.key)
    return found


def test_a_policy_is_for_nics_on_the_pod_network_by_their_workloads_labels() -> None:
    graph = graph_of()
    put(graph, selecting("c", "y", pod="c"))
    put(graph, selecting("launchers", "z", **{"kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": "c"}))
    assert members(graph) == {
        "NetworkPolicy/y/c": {"y/c.default"},
        "NetworkPolicy/z/launchers": {"z/c.default"},
    }
    multi = {**selecting("multi"), "kind": "MultiNetworkPolicy"}
    put(graph, multi)
    put(graph, {**multi, "metadata": {**multi["metadata"], "annotations": {FOR: "blue, y/blue"}}})
    assert "MultiNetworkPolicy/x/multi" not in members(graph), "no NIC is on those networks"


FOR = "k8s.v1.cni.cncf.io/policy-for"


def test_a_policy_for_networks_is_for_their_nics_alone() -> None:
    graph = graph_of("x/blue")
    multi = {**selecting("multi"), "kind": "MultiNetworkPolicy"}
    put(graph, multi)
    put(graph, {**multi, "metadata": {"name": "named", "namespace": "x", "annotations": {FOR: "blue"}}})
    put(graph, selecting("plain"))
    on_blue = [port_of(one) for one in endpoints("x/blue")]
    found = {str(one.key) for port in on_blue for one in graph.peek(partial(policies_of, port)).policies}
    assert found == {"MultiNetworkPolicy/x/named"}


def test_one_that_cannot_be_understood_lets_nothing_pass() -> None:
    graph = graph_of()
    put(graph, policy("odd", podSelector={"matchLabels": {"pod": "a"}}, ingress=[{"ports": [{"port": 70000}]}]))
    rows = graph.peek(partial(policy_rows, ObjectKey("NetworkPolicy", "x", "odd")))
    assert {row.columns.get("action") for row in rows} == {None, "allow-stateless", "allow-related", "drop"}
    allowed = [row.columns["match"] for row in rows if row.columns.get("action") == "allow-related"]
    assert len(allowed) == 1
    assert "192.168.0.1/32" in str(allowed), "but for the nodes"
    (condition,) = NETWORK_POLICY.extensions[0].conditions(PORTS[A], Reader(graph))
    assert condition.holds
    assert condition.message.startswith("NetworkPolicy/x/odd: spec.ingress.0.ports.0.port")


@pytest.mark.parametrize(
    ("spec", "isolates"),
    [
        ({}, (True, False)),
        ({"egress": [{}]}, (True, True)),
        ({"policyTypes": ["Egress"]}, (False, True)),
        ({"podSelector": 1}, (True, True)),
        ({"ingress": None, "policyTypes": None}, (True, False)),
    ],
)
def test_which_directions_a_policy_isolates(spec: dict[str, Any], isolates: tuple[bool, bool]) -> None:
    found, _ = read_policy({"spec": spec})
    assert (found.isolates_ingress, found.isolates_egress) == isolates


def test_networks_of_a_policy_are_named_from_its_namespace() -> None:
    body = {"metadata": {"namespace": "x", "annotations": {FOR: " blue,y/green,"}}}
    assert policy_networks(body) == {"x/blue", "y/green"}
    assert policy_networks({"metadata": {"namespace": "x"}}) == frozenset()


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        pytest.param({"domain": {"devices": {}}}, ("default", {}), id="what KubeVirt adds"),
        pytest.param({"domain": {"devices": {"autoattachPodInterface": False}}}, ("", {}), id="not wanted"),
        pytest.param({"networks": [{"name": "a", "multus": {"default": True}}]}, ("a", {}), id="in its place"),
        pytest.param({"networks": [{"name": "a", "multus": {"networkName": "b"}}]}, ("", {}), id="another"),
        pytest.param(
            {"domain": {"devices": {"interfaces": [{"name": "a", "ports": [{"name": "web", "port": 80}]}]}}},
            ("", {"a": {NamedPort("TCP", "web"): 80}}),
            id="a named port",
        ),
        pytest.param({"domain": "odd"}, ("", {}), id="of another form"),
    ],
)
def test_what_is_read_of_a_vms_networks(spec: dict[str, Any], found: tuple[str, Any]) -> None:
    assert instance_networks(spec) == found


def test_the_named_ports_of_a_pod() -> None:
    ports = [{"name": "web", "containerPort": 80}, {"containerPort": 81}, {"name": "odd", "containerPort": "82"}]
    assert pod_ports({"spec": {"containers": [{"ports": ports}, {}]}}) == {NamedPort("TCP", "web"): 80}
    assert pod_ports({"spec": {"containers": "odd"}}) == {}


def test_a_selector_is_found_by_one_label_that_it_asks_for() -> None:
    def selector(*requirements: Requirement) -> Selector:
        return Selector(frozenset(requirements))

    present, absent = Requirement("a", "Exists"), Requirement("b", "DoesNotExist")
    assert sorted(hooks_of(selector(Requirement("k", "In", frozenset({"v", "w"})), present))) == [
        ("k", "v"),
        ("k", "w"),
    ]
    assert hooks_of(selector(present, absent)) == [("a",)]
    assert hooks_of(selector(absent)) == hooks_of(selector()) == [()]


def is_free(port: Port, reader: Reader) -> bool:
    return any(one.key.id.endswith("/free") for one in groups_of_port(port, reader))


def test_a_nic_under_a_policy_is_not_among_those_that_are_free_of_tracking() -> None:
    graph = graph_of()
    put(graph, selecting("a", pod="a"))
    free = {port.key for port in PORTS.values() if graph.peek(partial(is_free, port))}
    assert free == {port.key for port in PORTS.values()} - {"x/a.eth0"}


def look_at_all(graph: Graph) -> None:
    for key in PORTS:
        graph.evaluate(Task("compile", key), answer)


def answer(key: ObjectKey, reader: Reader) -> Any:
    return policy_rows(key, reader) if key not in PORTS else rows_of_port(PORTS[key], reader)


def concerned(graph: Graph) -> set[str]:
    return {task.key.key for task in graph.due()}


def test_a_change_concerns_the_nics_that_it_is_about() -> None:
    graph = graph_of()
    put(graph, selecting("first", pod="b"))
    look_at_all(graph)
    put(graph, selecting("a", pod="a"))
    assert concerned(graph) == {"x/a.eth0"}
    put(graph, {**selecting("a", pod="a"), "spec": {**selecting("a", pod="a")["spec"], "ingress": [{}]}})
    assert not concerned(graph), "its rules are a matter of the policy's own rows"
    peers = [{"namespaceSelector": {"matchLabels": {"ns": "z"}}}]
    put(graph, policy("peers", podSelector={"matchLabels": {"pod": "nobody"}}, ingress=[{"from": peers}]))
    assert concerned(graph) == {"z/a.eth0", "z/b.eth0", "z/c.default"}
    moved = Pod.of({"metadata": {"name": "b", "namespace": "y", "uid": "b", "labels": {"pod": "a"}}, "spec": {}})
    graph.put(PODS, PODS.key("y/b"), moved)
    assert concerned(graph) == {"y/b.eth0"}
    put(graph, policy("same peers", "y", ingress=[{"from": peers}], podSelector={"matchLabels": {"pod": "nobody"}}))
    assert not concerned(graph), "policies that name the same peers share them"
    put(graph, policy("peers"), gone=True)
    assert not concerned(graph), "the other names them still"
    graph.put(NAMESPACES, NAMESPACES.key("y"), NamespaceLabels({"ns": "z"}))
    assert concerned(graph) == {"y/a.eth0", "y/b.eth0", "y/c.default"}


MANIFESTS = [
    *(one for family in ("together", "targets", "ports") for case in FAMILIES[family] for one in case.policies),
    policy("odd", ingress=[{"from": [{"podSelector": expression("pod", "DoesNotExist")}]}]),
]
STEPS = st.one_of(
    st.tuples(st.just("policy"), st.sampled_from(MANIFESTS), st.booleans()),
    st.tuples(st.just("namespace"), st.sampled_from(list(NAMESPACE_LABELS)), st.sampled_from([{}, {"ns": "y"}])),
    st.tuples(st.just("pod"), st.sampled_from(["x/a", "y/b"]), st.sampled_from(["a", "b", "c"])),
)


def step(graph: Graph, what: str, whom: Any, how: Any) -> None:
    if what == "policy":
        put(graph, whom, gone=how)
    elif what == "namespace":
        graph.put(NAMESPACES, NAMESPACES.key(whom), NamespaceLabels(how))
    else:
        namespace, _, name = whom.partition("/")
        ports = [{"name": "serve", "containerPort": 79}]
        metadata = {"name": name, "namespace": namespace, "uid": name, "labels": {"pod": how}}
        graph.put(PODS, PODS.key(whom), Pod.of({"metadata": metadata, "spec": {"containers": [{"ports": ports}]}}))


@settings(max_examples=40)
@given(st.lists(st.lists(STEPS, min_size=1, max_size=3), max_size=5))
def test_what_is_compiled_step_by_step_is_what_is_compiled_from_nothing(history: list[list[Any]]) -> None:
    graph = graph_of()
    policies = {ObjectKey(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]) for one in MANIFESTS}
    due = {Task("compile", key) for key in (*PORTS, *policies)}
    answers: dict[ObjectKey, Any] = {}
    steps: list[Any] = []
    for burst in [[], *history]:
        for one in burst:
            step(graph, *one)
            steps.append(one)
        due |= {Task("compile", key) for key in graph.objects(PEERS).keys() - answers.keys()}
        for task in {*due, *graph.due()}:
            answers[task.key] = graph.evaluate(task, answer)
        due = set()
        fresh = graph_of()
        for one in steps:
            step(fresh, *one)
        assert answers == {key: fresh.peek(partial(answer, key)) for key in answers}

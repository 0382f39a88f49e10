"""Which policy a NIC gets, what is left of it within what is enforced, and OVN's rows for that."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topology.samples import port, subnet, text_of, underlay
from virtnet.api import ClusterSubnet, Port, Subnet
from virtnet.api.meta import Metadata
from virtnet.api.qos_policy import ClusterQosPolicy, QosLimit, QosPolicy, QosPolicySpec, policies_in
from virtnet.engine.due import Task
from virtnet.engine.graph import Graph, Reader
from virtnet.engine.keys import ObjectKey
from virtnet.features.qos import (
    CLUSTER_POLICIES,
    POLICIES,
    Limits,
    chosen_for_port,
    chosen_for_subnet,
    limits_of,
    policy_in_use,
    qos_rows,
)
from virtnet.features.sources import CLUSTER_SUBNETS, SUBNETS, VMS
from virtnet.features.workloads import Vm

PORT = port(subnet(), 10)
VM = ObjectKey("VirtualMachine", "demo", "vm10")


def limit(rate: int | None = None, burst: int | None = None, dscp: int | None = None) -> QosLimit:
    return QosLimit(rate_kbps=rate, burst_kbits=burst, dscp=dscp)


def policy(name: str, egress: QosLimit | None = None, ingress: QosLimit | None = None) -> QosPolicy:
    spec = QosPolicySpec(egress=egress or limit(), ingress=ingress or limit())
    return QosPolicy(metadata=Metadata(name=name, namespace="demo"), spec=spec)


def cluster_policy(name: str, egress: QosLimit | None = None, **more: Any) -> ClusterQosPolicy:
    return ClusterQosPolicy(metadata=Metadata(name=name), spec=QosPolicySpec(egress=egress or limit(), **more))


def graph_of(*objects: QosPolicy | ClusterQosPolicy | Subnet | ClusterSubnet, **qos: str) -> Graph:
    """What there is; ``qos``: what the VM names, by network."""
    graph = Graph()
    collections = {
        QosPolicy: POLICIES,
        ClusterQosPolicy: CLUSTER_POLICIES,
        Subnet: SUBNETS,
        ClusterSubnet: CLUSTER_SUBNETS,
    }
    for one in objects:
        graph.put(collections[type(one)], ObjectKey.of(one), one)
    graph.put(VMS, VM, Vm("demo/vm10", "u", qos=qos))
    return graph


def blue(kind: str = "", name: str = "") -> Subnet:
    return subnet(qosPolicy={"kind": kind, "name": name}) if name else subnet()


GOLD, SILVER = policy("gold", limit(2000)), policy("silver", limit(1000))


@pytest.mark.parametrize(
    ("graph", "rate", "problem"),
    [
        pytest.param(graph_of(blue(), GOLD), None, "", id="nothing is named"),
        pytest.param(graph_of(blue("QosPolicy", "gold"), GOLD), 2000, "", id="its Subnet's"),
        pytest.param(graph_of(blue(), GOLD, net="gold"), 2000, "", id="its VM's"),
        pytest.param(graph_of(blue(), GOLD, other="gold"), None, "", id="of another NIC"),
        pytest.param(
            graph_of(blue("QosPolicy", "gold"), GOLD, SILVER, net="silver"), 1000, "", id="the VM's comes first"
        ),
        pytest.param(graph_of(blue(), GOLD, cluster_policy("gold", limit(9000)), net="gold"), 2000, "", id="own first"),
        pytest.param(graph_of(blue(), cluster_policy("gold", limit(9000)), net="gold"), 9000, "", id="the cluster's"),
        pytest.param(graph_of(blue(), net="gold"), None, "QosPolicy gold does not exist", id="missing"),
        pytest.param(
            graph_of(blue("QosPolicy", "silver"), SILVER, net="gold"),
            1000,
            "gold does not exist",
            id="Subnet's meanwhile",
        ),
        pytest.param(
            graph_of(blue(), cluster_policy("gold", limit(9000), allowed_namespaces=("other",)), net="gold"),
            None,
            "ClusterQosPolicy gold does not allow namespace demo",
            id="not allowed",
        ),
        pytest.param(
            graph_of(blue(), cluster_policy("all", limit(500), enforced=True), net="gold"),
            500,
            "gold does not exist",
            id="what is enforced binds where what is named is missing",
        ),
        pytest.param(
            graph_of(blue(), cluster_policy("all", limit(500), enforced=True, allowed_namespaces=("other",))),
            None,
            "",
            id="enforced in other namespaces",
        ),
    ],
)
def test_which_policy_a_nic_gets(graph: Graph, rate: int | None, problem: str) -> None:
    assert graph.peek(partial(limits_of, PORT)).egress.rate_kbps == rate
    found = graph.peek(partial(chosen_for_port, PORT)).problem
    assert problem in found
    assert bool(problem) == bool(found)


@pytest.mark.parametrize(
    ("of", "problem"),
    [
        pytest.param(blue("QosPolicy", "gold"), "", id="its namespace's"),
        pytest.param(blue("ClusterQosPolicy", "gold"), "ClusterQosPolicy gold does not exist", id="missing"),
        pytest.param(blue("ClusterQosPolicy", "far"), "does not allow namespace demo", id="not allowed"),
        pytest.param(
            underlay(qosPolicy={"kind": "ClusterQosPolicy", "name": "far"}), "", id="the administrator's choice"
        ),
    ],
)
def test_a_subnet_that_names_what_it_does_not_get_says_so(of: Subnet | ClusterSubnet, problem: str) -> None:
    graph = graph_of(GOLD, cluster_policy("far", allowed_namespaces=("other",)))
    found = graph.peek(partial(chosen_for_subnet, of)).problem
    assert problem in found
    assert bool(problem) == bool(found)


@pytest.mark.parametrize(
    ("chosen", "enforced", "left"),
    [
        pytest.param(limit(1000), limit(2000), limit(1000, 800), id="the chosen rate is lower"),
        pytest.param(limit(2000), limit(1000), limit(1000, 800), id="the enforced rate is lower"),
        pytest.param(limit(), limit(1000), limit(1000, 800), id="none is chosen"),
        pytest.param(limit(1000), limit(), limit(1000, 800), id="none is enforced"),
        pytest.param(limit(2000, 9000), limit(1000), limit(1000, 800), id="no burst above what is enforced"),
        pytest.param(limit(1000, 100), limit(2000, 5000), limit(1000, 100), id="the lower burst"),
        pytest.param(limit(1001), limit(), limit(1001, 801), id="a burst is rounded up"),
        pytest.param(limit(dscp=46), limit(dscp=8), limit(dscp=8), id="the enforced DSCP"),
        pytest.param(limit(dscp=46), limit(1000), limit(1000, 800, 46), id="each field by itself"),
        pytest.param(limit(), limit(dscp=0), limit(dscp=0), id="DSCP 0 is one"),
    ],
)
def test_what_is_enforced_caps_what_is_chosen(chosen: QosLimit, enforced: QosLimit, left: QosLimit) -> None:
    graph = graph_of(blue(), policy("gold", chosen), cluster_policy("all", enforced, enforced=True), net="gold")
    assert graph.peek(partial(limits_of, PORT)).egress == left


def test_rows_are_from_the_guests_side() -> None:
    egress, ingress = qos_rows(PORT, Limits(limit(1000, 800, 46), limit(2000, 1600)))
    assert [text_of(row, "direction") for row in (egress, ingress)] == ["from-lport", "to-lport"]
    assert [text_of(row, "match") for row in (egress, ingress)] == [
        '(inport == "demo/vm10.net")',
        '(outport == "demo/vm10.net")',
    ]
    assert (egress.columns["bandwidth"], egress.columns["action"]) == ({"rate": 1000, "burst": 800}, {"dscp": 46})
    assert (ingress.columns["bandwidth"], ingress.columns["action"]) == ({"rate": 2000, "burst": 1600}, {})
    assert {row.key.origin for row in (egress, ingress)} == {"Port/demo/vm10.net"}
    assert not list(qos_rows(PORT, Limits(limit(), limit())))


@pytest.mark.parametrize(
    ("graph", "of", "user"),
    [
        pytest.param(graph_of(blue(), GOLD), GOLD, "", id="nobody"),
        pytest.param(
            graph_of(blue("QosPolicy", "gold"), GOLD), GOLD, "1 Subnets, one of them demo/blue", id="a Subnet"
        ),
        pytest.param(graph_of(GOLD, net="gold"), GOLD, "1 VMs, one of them demo/vm10", id="a VM"),
        pytest.param(
            graph_of(GOLD, cluster_policy("gold"), net="gold"), cluster_policy("gold"), "", id="another is meant"
        ),
        pytest.param(
            graph_of(cluster_policy("gold"), net="gold"), cluster_policy("gold"), "1 VMs, one", id="the cluster's"
        ),
        pytest.param(
            graph_of(blue(), cluster_policy("all", enforced=True)),
            cluster_policy("all", enforced=True),
            "",
            id="who is bounded does not hold back",
        ),
    ],
)
def test_a_policy_is_in_use_while_it_is_named(graph: Graph, of: QosPolicy | ClusterQosPolicy, user: str) -> None:
    found = graph.peek(partial(policy_in_use, of))
    assert user in found
    assert bool(user) == bool(found)


@pytest.mark.parametrize("text", ["[", "[]", '{"blue": 1}', '{"blue": "Not A Name"}', '{"blue": ""}', "[" * 100_000])
def test_an_annotation_of_another_form_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        policies_in(text)


def test_an_annotation_names_policies_by_network() -> None:
    assert policies_in('{"blue": "gold"}') == {"blue": "gold"}
    assert policies_in(None) == {}


LIMITS = st.builds(limit, *([st.none() | st.integers(64, 4000)] * 2), st.none() | st.integers(0, 63))
SPECS = st.builds(
    QosPolicySpec,
    egress=LIMITS,
    ingress=LIMITS,
    enforced=st.booleans(),
    allowed_namespaces=st.sampled_from(((), ("demo",), ("other",))),
)
NAMES = ("gold", "silver")
PORTS = [port(subnet(namespace=namespace), number) for namespace in ("demo", "other") for number in (10, 11)]


@st.composite
def changes(draw: st.DrawFn) -> tuple[Any, ObjectKey, object]:
    """A policy, a Subnet or a VM that comes, changes or goes."""
    namespace, name = draw(st.sampled_from(("demo", "other"))), draw(st.sampled_from(NAMES))
    gone = draw(st.booleans())
    match draw(st.sampled_from(("policy", "cluster policy", "subnet", "vm"))):
        case "policy":
            spec = draw(SPECS).model_copy(update={"enforced": False, "allowed_namespaces": ()})
            found = QosPolicy(metadata=Metadata(name=name, namespace=namespace), spec=spec)
            return POLICIES, ObjectKey.of(found), None if gone else found
        case "cluster policy":
            cluster = ClusterQosPolicy(metadata=Metadata(name=name), spec=draw(SPECS))
            return CLUSTER_POLICIES, ObjectKey.of(cluster), None if gone else cluster
        case "subnet":
            ref = {"kind": draw(st.sampled_from(("QosPolicy", "ClusterQosPolicy"))), "name": name}
            one = subnet(namespace=namespace, qosPolicy=None if gone else ref)
            return SUBNETS, ObjectKey.of(one), one
        case _:
            vm = draw(st.sampled_from(("vm10", "vm11")))
            qos: Mapping[str, str] = {} if gone else {"net": name}
            return VMS, ObjectKey(VMS.kind, namespace, vm), Vm(f"{namespace}/{vm}", "u", qos=qos)


def answer(of: Port, reader: Reader) -> tuple[object, ...]:
    return (*(str(row) for row in qos_rows(of, limits_of(of, reader))), chosen_for_port(of, reader).problem)


def answer_of(of: Port, _: ObjectKey, reader: Reader) -> tuple[object, ...]:
    return answer(of, reader)


@settings(max_examples=60)
@given(st.lists(st.lists(changes(), min_size=1, max_size=4), max_size=6))
def test_what_is_compiled_step_by_step_is_what_is_compiled_from_nothing(
    history: list[list[tuple[Any, ObjectKey, object]]],
) -> None:
    """And a Port is looked at again only where a policy that it has read, or could have got, has changed."""
    graph, ports = Graph(), {ObjectKey.of(one): one for one in PORTS}
    answers: dict[ObjectKey, object] = {}
    due = {Task("compile", key) for key in ports}
    seen: dict[ObjectKey, tuple[Any, object]] = {}
    for burst in [[], *history]:
        for collection, key, value in burst:
            graph.put(collection, key, value)
            seen[key] = collection, value
        for task in due | graph.due().keys():
            answers[task.key] = graph.evaluate(task, lambda key, reader: answer(ports[key], reader))
        due = set()
        fresh = Graph()
        for key, (collection, value) in seen.items():
            fresh.put(collection, key, value)
        assert answers == {key: fresh.peek(partial(answer, one)) for key, one in ports.items()}


def test_a_change_concerns_exactly_the_ports_that_the_policy_is_for() -> None:
    graph = graph_of(blue(), GOLD, SILVER, net="gold")
    others = [port(subnet(), number) for number in (11, 12)]
    graph.put(VMS, VM._replace(name="vm11"), Vm("demo/vm11", "u", qos={"net": "silver"}))
    for one in (PORT, *others):
        graph.evaluate(Task("compile", ObjectKey.of(one)), partial(answer_of, one))
    graph.put(POLICIES, ObjectKey.of(GOLD), policy("gold", limit(3000)))
    assert {task.key.name for task in graph.due()} == {PORT.name}
    graph.put(CLUSTER_POLICIES, ObjectKey("ClusterQosPolicy", "", "idle"), cluster_policy("idle", limit(100)))
    assert not graph.due()
    enforced = cluster_policy("all", limit(100), enforced=True)
    graph.put(CLUSTER_POLICIES, ObjectKey.of(enforced), enforced)
    assert {task.key.name for task in graph.due()} == {one.name for one in (PORT, *others)}

"""Which groups a NIC is in, and what a group's rules become."""

from functools import partial
from typing import Any

import pytest

from tests.features.groups import NOT_DB, PORT, WEB, cluster_group, graph_of, group, matches
from tests.topology.samples import subnet
from virtnet.api.security_group import mistake
from virtnet.engine.feature import Invalid
from virtnet.engine.graph import Graph
from virtnet.features.group_membership import membership_of
from virtnet.features.security_groups import check_group, group_in_use, groups_of_port, rows_of_port


@pytest.mark.parametrize(
    ("graph", "groups", "missing"),
    [
        pytest.param(graph_of(group("web")), [], (), id="nobody says so"),
        pytest.param(
            graph_of(group("web"), names=("web",)), ["SecurityGroup/demo/web"], (), id="by its VM's annotation"
        ),
        pytest.param(
            graph_of(group("web", "other"), names=("web",)), [], ("web",), id="another namespace's is not there"
        ),
        pytest.param(
            graph_of(cluster_group("web"), names=("web",)), ["ClusterSecurityGroup/web"], (), id="the cluster's by name"
        ),
        pytest.param(
            graph_of(cluster_group("web"), group("web"), names=("web",)),
            ["SecurityGroup/demo/web"],
            (),
            id="its namespace's comes first",
        ),
        pytest.param(
            graph_of(cluster_group("web", allowedNamespaces=["other"]), names=("web",)), [], ("web",), id="not allowed"
        ),
        pytest.param(
            graph_of(subnet(securityGroups=["web"]), group("web")), ["SecurityGroup/demo/web"], (), id="Subnet's"
        ),
        pytest.param(graph_of(subnet(securityGroups=["web"]), group("web"), names=()), [], (), id="the VM wants none"),
        pytest.param(
            graph_of(group("web", selector=WEB), template={"app": "web"}),
            ["SecurityGroup/demo/web"],
            (),
            id="selected, stopped",
        ),
        pytest.param(
            graph_of(group("web", selector=WEB), template={"app": "web"}, labels={"app": "db"}),
            [],
            (),
            id="its instance's labels count",
        ),
        pytest.param(
            graph_of(group("web", selector=NOT_DB), labels={"app": "x"}),
            ["SecurityGroup/demo/web"],
            (),
            id="expressions",
        ),
        pytest.param(
            graph_of(group("web", selector=WEB, networks=["other"]), template={"app": "web"}), [], (), id="networks"
        ),
        pytest.param(graph_of(group("web", "other", selector={})), [], (), id="not of other namespaces"),
        pytest.param(
            graph_of(cluster_group("all", selector={})), ["ClusterSecurityGroup/all"], (), id="every workload"
        ),
        pytest.param(
            graph_of(cluster_group("all", selector={}, allowedNamespaces=["other"])), [], (), id="of other namespaces"
        ),
        pytest.param(
            graph_of(group("web", selector={}), names=("web",)), ["SecurityGroup/demo/web"], (), id="named and selected"
        ),
    ],
)
def test_the_groups_of_a_nic(graph: Graph, groups: list[str], missing: tuple[str, ...]) -> None:
    found = graph.peek(partial(membership_of, PORT))
    assert ([str(one.key) for one in found.groups], found.missing) == (groups, missing)


def test_a_nic_whose_group_is_not_there_is_shut() -> None:
    graph = graph_of(names=("gone",))
    rows = graph.peek(partial(rows_of_port, PORT))
    assert [(row.columns["direction"], row.columns["action"], row.columns["priority"]) for row in rows] == [
        ("from-lport", "allow-stateless", 2400),
        ("from-lport", "drop", 1000),
        ("to-lport", "allow-stateless", 2400),
        ("to-lport", "drop", 1000),
    ]
    assert all(row.key.kind == "SecurityGroup" and row.key.origin == "Port/demo/vm10.net" for row in rows)
    assert not graph_of(group("web"), names=("web",)).peek(partial(rows_of_port, PORT))


@pytest.mark.parametrize(
    ("groups", "names", "free"),
    [
        pytest.param([], (), False, id="no groups"),
        pytest.param([group("web", ingress=[])], (), True, id="beside those that are tracked"),
        pytest.param([group("web", ingress=[])], ("web",), False, id="tracked itself"),
        pytest.param([group("web", ingress=[], stateful=False)], (), False, id="nobody is tracked"),
        pytest.param([group("web", ingress=[]), group("x", ingress=[], stateful=False)], ("x",), True, id="stateless"),
        pytest.param([group("web", "other", ingress=[])], (), False, id="another namespace's"),
        pytest.param([cluster_group("web", ingress=[])], (), True, id="the cluster's"),
    ],
)
def test_who_meets_no_connection_tracker(groups: list[Any], names: tuple[str, ...], free: bool) -> None:
    joined = graph_of(*groups, names=names).peek(lambda reader: list(groups_of_port(PORT, reader)))
    assert ("Subnet/demo/blue:SecurityGroup/free" in [one.key.id for one in joined]) == free


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        pytest.param(
            {"ingress": [{"peers": [{}]}]},
            "ingress[0].peers[0]: name one of securityGroup, subnet and cidr",
            id="no peer",
        ),
        pytest.param(
            {"egress": [{}, {"peers": [{"cidr": "10.0.0.0/8", "subnet": "blue"}]}]},
            "egress[1].peers[0]: name one of",
            id="two",
        ),
        pytest.param(
            {"ingress": [{"peers": [{"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}]}]},
            "except 11.0.0.0/16 is not within 10.0.0.0/8",
            id="except outside",
        ),
        pytest.param(
            {"ingress": [{"peers": [{"cidr": "10.0.0.0/8", "except": ["fd00::/64"]}]}]},
            "except fd00::/64 is not",
            id="families",
        ),
        pytest.param(
            {"ingress": [{"peers": [{"subnet": "a", "except": ["10.0.0.0/8"]}]}]}, "except is for a cidr", id="except"
        ),
        pytest.param(
            {"ingress": [{"peers": [{"cidr": "10.0.0.1/8"}]}]}, "'10.0.0.1/8' must be a network", id="host bits"
        ),
        pytest.param(
            {"ingress": [{"ports": [{"protocol": "TCP", "endPort": 9}]}]},
            "endPort is the last of a range",
            id="no port",
        ),
        pytest.param(
            {"ingress": [{"ports": [{"protocol": "TCP", "port": 10, "endPort": 9}]}]},
            "endPort is the last of a",
            id="order",
        ),
        pytest.param(
            {"ingress": [{"ports": [{"protocol": "ICMP", "port": 1}]}]}, "ICMP has no ports; write icmpType", id="icmp"
        ),
        pytest.param({"ingress": [{"ports": [{"protocol": "UDP", "icmpType": 1}]}]}, "UDP has no icmpType", id="udp"),
        pytest.param(
            {"ingress": [{"action": "Deny"}]}, "ingress[0]: Deny is for a ClusterSecurityGroup", id="a tenant's deny"
        ),
        pytest.param(
            {"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
            "In and NotIn need values",
            id="selector",
        ),
    ],
)
def test_what_nobody_can_follow_is_refused(spec: dict[str, Any], problem: str) -> None:
    wrong = group("web", **spec)
    graph = graph_of(wrong)
    with pytest.raises(Invalid) as refused:
        graph.peek(partial(check_group, wrong, None))
    assert problem in str(refused.value)
    if spec.keys() <= {"ingress", "egress"}:
        assert {one[2] for one in matches(graph, wrong)} == {"allow-stateless", "allow-related", "drop"}, (
            "stored all the same, it is shut"
        )


def test_groups_may_name_each_other_in_a_circle() -> None:
    one = group("one", ingress=[{"peers": [{"securityGroup": "two"}]}])
    two = group("two", ingress=[{"peers": [{"securityGroup": "one"}]}])
    graph = graph_of(one, two)
    assert not mistake(one.spec, may_deny=False)
    assert len(matches(graph, one)) == len(matches(graph, two)) == 3


def test_who_names_a_group_holds_it_back() -> None:
    web = group("web")
    assert graph_of(web, names=("web",)).peek(partial(group_in_use, web)) == "1 VMs, one of them demo/vm10"
    assert graph_of(web, subnet(securityGroups=["web"])).peek(partial(group_in_use, web)).startswith("1 Subnets")
    assert graph_of(web, cluster_group("web"), names=("web",)).peek(partial(group_in_use, cluster_group("web"))) == ""

"""What a group's rules become: ACLs of its Port_Group."""

from functools import partial
from typing import Any

import pytest

from tests.features.groups import HTTP, IN_DROP, IN_SERVICES, NOTHING, PORT, cluster_group, graph_of, group, matches
from virtnet.features.group_membership import membership_of


@pytest.mark.parametrize(
    ("rules", "acls"),
    [
        pytest.param([], [NOTHING], id="nothing passes"),
        pytest.param([{}], [(2000, "allow-related", "((outport == @G) && (ip))")], id="everything"),
        pytest.param(
            [{"ports": [HTTP, {"protocol": "UDP", "port": 53, "endPort": 54}, {"protocol": "ICMP", "icmpType": 8}]}],
            [
                (
                    2000,
                    "allow-related",
                    "((outport == @G) && (ip) && ((tcp.dst == 80) || ((udp.dst >= 53) && (udp.dst <= 54))"
                    " || (icmp4.type == 8)))",
                )
            ],
            id="ports",
        ),
        pytest.param(
            [{"peers": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}, {"cidr": "fd00::/64"}]}],
            [
                (
                    2000,
                    "allow-related",
                    "((outport == @G) && (ip) && (((ip4.src == {10.0.0.0/8}) && (!(ip4.src == {10.1.0.0/16})))"
                    " || (ip6.src == {fd00::/64})))",
                )
            ],
            id="what is left out of one network is let in by another",
        ),
        pytest.param(
            [{"peers": [{"securityGroup": "web"}]}],
            [(2000, "allow-related", "((outport == @G) && (ip) && ((ip4.src == $G_ip4) || (ip6.src == $G_ip6)))")],
            id="its own members",
        ),
        pytest.param([{"peers": [{"securityGroup": "gone"}, {"subnet": "gone"}]}], [NOTHING], id="not there"),
        pytest.param(
            [{"peers": [{"subnet": "blue"}]}],
            [(2000, "allow-related", "((outport == @G) && (ip) && (ip4.src == {10.10.0.0/24}))")],
            id="a Subnet",
        ),
        pytest.param(
            [{"ports": [HTTP]}, {"ports": [HTTP]}],
            [(2000, "allow-related", "((outport == @G) && (ip) && (tcp.dst == 80))")],
            id="twice",
        ),
    ],
)
def test_the_rules_of_a_group(rules: list[Any], acls: list[tuple[int, str, str]]) -> None:
    web = group("web", ingress=rules)
    wanted = [IN_SERVICES, IN_DROP, *(("to-lport", *one) for one in acls)]
    assert matches(graph_of(web), web) == sorted(wanted)


def test_a_direction_of_which_a_group_says_nothing_is_free() -> None:
    web = group("web", egress=[], stateful=False)
    assert [one[:3] for one in matches(graph_of(web), web)] == [
        ("from-lport", 1000, "drop"),
        ("from-lport", 2400, "allow-stateless"),
    ]


def test_an_administrators_rules_come_before_those_of_tenants() -> None:
    guard = cluster_group("guard", ingress=[{"action": "Deny", "ports": [HTTP]}, {}])
    found = {(one[1], one[2]) for one in matches(graph_of(guard), guard)}
    assert found == {(2400, "allow-stateless"), (2300, "drop"), (2200, "allow-related"), (1000, "drop")}


def test_denials_alone_leave_the_rest_to_others() -> None:
    guard = cluster_group("guard", egress=[{"action": "Deny", "ports": [HTTP]}])
    assert {one[:3] for one in matches(graph_of(guard), guard)} == {
        ("from-lport", 2400, "allow-stateless"),
        ("from-lport", 2300, "drop"),
    }
    graph = graph_of(cluster_group("guard", selector={}, egress=[{"action": "Deny", "ports": [HTTP]}]))
    assert not graph.peek(partial(membership_of, PORT)).tracked


def test_what_opens_no_connection_may_pass_untracked() -> None:
    web = group("web", ingress=[], establishedByFlags=True)
    assert (
        "to-lport",
        2000,
        "allow-stateless",
        "((outport == @G) && (tcp) && (!(tcp.flags == 0x002/0x012)))",
    ) in matches(graph_of(web), web)

"""Network policies as a real OVN keeps them: TCP and UDP between two NICs, and answers to what was let pass."""

import asyncio
from dataclasses import dataclass, replace

import pytest

from tests.attach.real_pods import attached, commit
from tests.attach.rig import Node, eventually
from tests.attach.test_security_groups import OPEN, PODS, SHUT, arrives, connects
from tests.topology.samples import VPC, Range, port, subnet
from virtnet.api.named_ports import NamedPort
from virtnet.api.security_group import GroupPort
from virtnet.handoff.options import ChassisOptions
from virtnet.lab.ovn_central import OvnCentral
from virtnet.topology import security_group
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.match import Match
from virtnet.topology.names import part, port_key, switch_key
from virtnet.topology.network_policy import (
    ResolvedRule,
    group_rows,
    let_in,
    named_group,
    policy_acls,
    rows_of_both,
)
from virtnet.topology.rows import Key
from virtnet.topology.security_group import PeerSet, ResolvedGroup, membership

BLUE = subnet("policies")
POLICY = Key("Port_Group", "NetworkPolicy/demo/db")
PEERS, ANYBODY = part("Port_Group", POLICY, "web"), part("Port_Group", POLICY, "anybody")
GROUP = Key("Port_Group", "SecurityGroup/demo/db")
SERVE = NamedPort("TCP", "serve")
FROM_WEB = ResolvedRule(
    ANYBODY, (PeerSet(group=PEERS),), (GroupPort(protocol="TCP", port=OPEN), GroupPort(protocol="UDP", port=OPEN))
)
BY_NAME = ResolvedRule(ANYBODY, named={SERVE: frozenset({OPEN})})
EVERYTHING = ResolvedRule(ANYBODY)


@dataclass(frozen=True)
class Policy:
    """Rules; a direction of which it says nothing is None."""

    ingress: list[ResolvedRule] | None
    egress: list[ResolvedRule] | None = None


async def written(ovn: OvnCentral, policy: Policy | None = None, group: ResolvedGroup | None = None) -> None:
    """The policy, and the group, are the database's; the policy's peers are the web's NICs."""
    nics = {name: port(BLUE, number, f"{name}.blue") for name, number in PODS.items()}
    named = named_group(POLICY, SERVE, OPEN)
    joined = {"web": [PEERS], "db": [*([POLICY, named] if policy else ()), *([GROUP] if group else ())]}
    groups = {port_key(nics[name]): frozenset(map(membership, keys)) for name, keys in joined.items()}
    rows = [*vpc_rows(VPC), *subnet_rows(BLUE, Range.of(BLUE)), *group_rows([POLICY, PEERS, named])]
    if policy:
        rows += policy_acls(POLICY, policy.ingress, policy.egress)
    if group:
        rows += security_group.group_rows(GROUP, group)
    for nic in nics.values():
        rows += [
            replace(row, groups=groups.get(row.key, frozenset())) for row in port_rows(nic, BLUE, ChassisOptions())
        ]
    if policy and group:
        by_policy: list[Match] = [let_in(POLICY, rule) for rule in policy.ingress or ()]
        rows += rows_of_both(nics["db"].key, switch_key(BLUE.ref), security_group.let_in(group), by_policy)
    await commit(ovn, rows)


@pytest.fixture
def pods(node: Node, real_ovn: OvnCentral) -> dict[str, str]:
    """The pods' network namespaces."""
    asyncio.run(written(real_ovn))
    return attached(node, BLUE, PODS)


def test_packets_go_where_a_policy_lets_them(node: Node, real_ovn: OvnCentral, pods: dict[str, str]) -> None:
    eventually(lambda: connects(pods, "web", "db", SHUT), "without policies they reach each other")

    asyncio.run(written(real_ovn, Policy([FROM_WEB])))
    assert connects(pods, "web", "db", OPEN)
    assert not connects(pods, "web", "db", SHUT)
    assert arrives(pods, "web", "db", OPEN)
    assert not arrives(pods, "web", "db", SHUT)
    assert connects(pods, "db", "web", SHUT), "answers to what it sends pass by themselves"

    asyncio.run(written(real_ovn, Policy([BY_NAME])))
    assert connects(pods, "web", "db", OPEN), "by the port's name"
    assert not connects(pods, "web", "db", SHUT)

    asyncio.run(written(real_ovn, Policy(None, [])))
    assert connects(pods, "web", "db", SHUT), "answers to what comes pass, though it may send nothing"
    assert not connects(pods, "db", "web", OPEN)

    asyncio.run(written(real_ovn, Policy([], [FROM_WEB])))
    assert connects(pods, "db", "web", OPEN)
    assert not connects(pods, "db", "web", SHUT)
    assert not connects(pods, "web", "db", OPEN)

    group = ResolvedGroup([security_group.ResolvedRule((GroupPort(protocol="TCP", port=OPEN),))], None)
    asyncio.run(written(real_ovn, Policy([EVERYTHING]), group))
    assert connects(pods, "web", "db", OPEN), "both the group and the policy let it in"
    assert not connects(pods, "web", "db", SHUT)
    asyncio.run(written(real_ovn, Policy([]), group))
    assert not connects(pods, "web", "db", OPEN), "the group alone does"
    asyncio.run(written(real_ovn))
    assert connects(pods, "web", "db", SHUT)

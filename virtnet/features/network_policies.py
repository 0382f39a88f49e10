"""NetworkPolicy and MultiNetworkPolicy: a Port_Group of the NICs that each is for, and one of those that a peer is.

As with security groups, a Port's own row joins them by the transaction that makes it.
"""

from collections.abc import Iterator, Sequence
from ipaddress import ip_network

from virtnet.api import Port
from virtnet.api.grammar import HOST_IP, NAMESPACED_NAME
from virtnet.api.network_policy import PolicyPeer, PolicyRule
from virtnet.api.security_group import GroupPort
from virtnet.engine.collection import Collection
from virtnet.engine.feature import Extension, ForeignFeature
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import ConditionState, Outcome
from virtnet.features.group_membership import membership_of
from virtnet.features.network_parts import numbers_of
from virtnet.features.policy_groups import (
    ANYBODY,
    KIND,
    MULTI_POLICIES,
    PEERS,
    POLICIES,
    NetworkPolicy,
    PolicyGroup,
    named_ports,
    peers_of,
    subjects_of,
)
from virtnet.features.policy_membership import policies_of
from virtnet.features.security_groups import resolved_group
from virtnet.features.sources import NODES
from virtnet.topology import security_group
from virtnet.topology.match import Match, networks
from virtnet.topology.names import switch_key
from virtnet.topology.network_policy import (
    ResolvedRule,
    group_rows,
    let_in,
    named_group,
    policy_acls,
    rows_of_both,
)
from virtnet.topology.rows import Key, Parent, Row

UNREADABLE = "NetworkPolicyUnreadable"
"""Condition of a Port that a policy is for which cannot be understood: nothing passes meanwhile."""


def compile_policy(key: ObjectKey, reader: Reader) -> Outcome:
    """Its Port_Group, and the ACLs of its rules."""
    policy = _policy(key, reader)
    if policy is None:
        return Outcome(())
    ingress, egress = (
        None if rules is None else [_resolved(policy, rule, reader) for rule in rules]
        for rules in (policy.ingress, policy.egress)
    )
    subjects = subjects_of(policy)
    groups = group_rows([subjects.row, *_by_name(subjects, reader)])
    return Outcome([*groups, *policy_acls(subjects.row, ingress, egress, _nodes(policy, reader))])


def compile_peers(key: ObjectKey, reader: Reader) -> Outcome:
    """The Port_Groups of what some policies name as a peer."""
    peers = reader.get(PEERS, key)
    return Outcome(group_rows([peers.row, *_by_name(peers, reader)]) if peers is not None else ())


def _policy(key: ObjectKey, reader: Reader) -> NetworkPolicy | None:
    collection: Collection[NetworkPolicy] = POLICIES if key.kind == KIND else MULTI_POLICIES
    return reader.get(collection, key)


def _by_name(group: PolicyGroup, reader: Reader) -> list[Key]:
    """Its further groups, of named ports."""
    return [named_group(group.row, port, number) for port in group.ports for number in reader.derive(numbers_of, port)]


def _resolved(policy: NetworkPolicy, rule: PolicyRule, reader: Reader) -> ResolvedRule:
    peers = tuple(found for peer in rule.peers if (found := _peer(policy, peer, rule)) is not None)
    ports = tuple(
        GroupPort(protocol=one.protocol, port=one.port, end_port=one.end_port)
        for one in rule.ports
        if not isinstance(one.port, str)
    )
    named = {port: reader.derive(numbers_of, port) for port in named_ports(rule)}
    return ResolvedRule(peers_of(policy, ANYBODY, rule).row, peers if rule.peers else None, ports, named)


def _peer(policy: NetworkPolicy, peer: PolicyPeer, rule: PolicyRule) -> security_group.PeerSet | None:
    """None for one that is nobody."""
    if peer.ip_block is None:
        return security_group.PeerSet(group=peers_of(policy, peer, rule).row) if peer.of_pods else None
    whole = ip_network(peer.ip_block.cidr)
    excluded = tuple(one for one in peer.ip_block.excluded if ip_network(one).version == whole.version)
    return security_group.PeerSet(cidrs=(peer.ip_block.cidr,), excluded=excluded)


def _nodes(policy: NetworkPolicy, reader: Reader) -> tuple[str, ...]:
    """Who reaches its NICs in any case: on the pod network kubelets have to."""
    return reader.derive(_node_networks, "") if policy.networks is None else ()


def _node_networks(_: str, reader: Reader) -> tuple[str, ...]:
    """Each address of a Node, as a network; to be derived."""
    addresses = {address for node in reader.every(NODES) for address in node.addresses if HOST_IP.permits(address)}
    return tuple(sorted(str(ip_network(address)) for address in addresses))


def groups_of_port(port: Port, reader: Reader) -> Iterator[Parent]:
    """The Port_Groups that its row is in."""
    yield from map(security_group.membership, policies_of(port, reader).rows)


def rows_of_port(port: Port, reader: Reader) -> Sequence[Row]:
    """Of a NIC that both policies and security groups say of what may come to it: each has to let it in."""
    policies = [one for one in policies_of(port, reader).policies if one.ingress]
    if not policies:
        return ()
    members = (resolved_group(one.key, reader) for one in membership_of(port, reader).groups)
    groups = [one for one in members if one is not None and security_group.isolates(one.ingress)]
    if not groups:
        return ()
    NAMESPACED_NAME.check(port.key, "the name of a logical port")
    by_groups = [match for one in groups if not one.cluster for match in security_group.let_in(one)]
    by_policies = [match for one in policies for match in _let_in_by(one, reader)]
    return rows_of_both(port.key, switch_key(port.spec.subnet), by_groups, by_policies)


def _let_in_by(subjects: PolicyGroup, reader: Reader) -> Iterator[Match]:
    policy = _policy(subjects.key, reader)
    if policy is None:
        return
    for rule in policy.ingress or ():
        resolved = _resolved(policy, rule, reader)
        if resolved.peers != ():
            yield let_in(subjects.row, resolved)
    if nodes := _nodes(policy, reader):
        yield networks(nodes, "src")


def _unreadable(port: Port, reader: Reader) -> Sequence[ConditionState]:
    found = next((one for one in policies_of(port, reader).policies if one.problem), None)
    said = f"{found.key}: {found.problem}; nothing passes its NICs until it is right" if found else ""
    return [ConditionState(UNREADABLE, bool(found), "Invalid" if found else "Valid", said)]


NETWORK_POLICY = ForeignFeature(
    POLICIES, compile_policy, (Extension(Port, conditions=_unreadable, rows=rows_of_port, groups=groups_of_port),)
)
MULTI_NETWORK_POLICY = ForeignFeature(MULTI_POLICIES, compile_policy)
POLICY_PEERS = ForeignFeature(PEERS, compile_peers)

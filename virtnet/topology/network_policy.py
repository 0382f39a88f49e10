"""A network policy as OVN's rows: a Port_Group of the NICs that it is for, with its ACLs, and others of its peers.

What comes to a NIC meets one round of ACLs, so what both a security group and a policy allow is said by one ACL. What a
NIC sends meets two: those of security groups, and after load balancers those of policies.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from virtnet.api.named_ports import NamedPort
from virtnet.api.security_group import GroupPort
from virtnet.topology.acls import acl, group_acl, with_tracking
from virtnet.topology.match import EVERYTHING, Match, Term, addresses_of, both, either, in_port, networks, out_port
from virtnet.topology.names import added, part, port_key, row_name
from virtnet.topology.ownership import own
from virtnet.topology.rows import Key, Row
from virtnet.topology.security_group import SERVICES, SERVICES_PRIORITY, PeerSet, sent_to

_ALLOW, _DROP = 600, 500
_BOTH_ALLOW, _BOTH_DROP = 2100, 2050
"""Of NICs in security groups, which decide before policies do; beyond what those say, and below administrators."""


@dataclass(frozen=True)
class ResolvedRule:
    """A rule whose peers are found."""

    anybody: Key
    """The group by which named ports are found of receivers that are no peers by selectors."""
    peers: tuple[PeerSet, ...] | None = None
    """Any of these; None: everybody."""
    ports: tuple[GroupPort, ...] = ()
    named: Mapping[NamedPort, frozenset[int]] = field(default_factory=dict)
    """Ports by name, each with the numbers that it has anywhere. Without these and others: everything."""

    @property
    def everything(self) -> bool:
        return not self.ports and not self.named


def named_group(group: Key, port: NamedPort, number: int) -> Key:
    """Those NICs of a group on which a named port is this number."""
    said = f"{port.protocol} {port.name} {number}"
    return part("Port_Group", group, hashlib.sha256(said.encode()).hexdigest()[:16])


def group_rows(keys: Iterable[Key]) -> list[Row]:
    return [Row(key, {"name": row_name(key), "external_ids": own(key)}) for key in keys]


Rules = Sequence[ResolvedRule] | None
"""Of one direction. None: nothing is said of it."""


def policy_acls(key: Key, ingress: Rules, egress: Rules, nodes: tuple[str, ...] = ()) -> list[Row]:
    """The ACLs of a policy's group. ``nodes``: addresses that reach its NICs whatever it says."""
    return with_tracking(key, (*_incoming(key, ingress, nodes), *_outgoing(key, egress)))


def _incoming(key: Key, rules: Rules, nodes: tuple[str, ...]) -> Iterator[Row]:
    if rules is None:
        return
    port = out_port(key)
    yield group_acl(key, "to-lport", SERVICES_PRIORITY, both(port, Term(SERVICES["to-lport"])), "allow-stateless")
    if nodes:
        yield group_acl(key, "to-lport", _ALLOW, both(port, networks(nodes, "src")), "allow-related")
    for number, rule in enumerate(rules):
        if rule.peers != ():
            of, said = both(port, Term("ip"), let_in(key, rule)), f"ingress[{number}]"
            yield group_acl(key, "to-lport", _ALLOW, of, "allow-related", rule=said)
    yield group_acl(key, "to-lport", _DROP, both(port, Term("ip")), "drop")


def _outgoing(key: Key, rules: Rules) -> Iterator[Row]:
    if rules is None:
        return
    port = in_port(key)
    services = both(port, Term(SERVICES["from-lport"]))
    yield group_acl(key, "from-lport", SERVICES_PRIORITY, services, "allow-stateless", after_lb=True)
    for number, rule in enumerate(rules):
        if rule.peers != ():
            of, said = both(port, Term("ip"), _let_out(rule)), f"egress[{number}]"
            yield group_acl(key, "from-lport", _ALLOW, of, "allow-related", after_lb=True, rule=said)
    yield group_acl(key, "from-lport", _DROP, both(port, Term("ip")), "drop", after_lb=True)


def let_in(key: Key, rule: ResolvedRule) -> Match:
    """What a rule lets in to NICs of a policy's group; a named port is what each NIC itself calls so."""
    peers = EVERYTHING if rule.peers is None else either(one.match("src") for one in rule.peers)
    if rule.everything:
        return peers
    named = (both(out_port(named_group(key, *one)), _numbered(*one)) for one in _numbers(rule))
    return both(peers, either([*map(sent_to, rule.ports), *named]))


def _let_out(rule: ResolvedRule) -> Match:
    """What a rule lets out; a named port is what each receiver calls so."""
    peers = EVERYTHING if rule.peers is None else either(one.match("dst") for one in rule.peers)
    if rule.everything:
        return peers
    found = [both(peers, either(map(sent_to, rule.ports)))] if rule.ports else []
    for peer in (None,) if rule.peers is None else rule.peers:
        group = (peer and peer.group) or rule.anybody
        within = peer.match("dst") if peer is not None and peer.group is None else EVERYTHING
        found += [
            both(within, addresses_of(named_group(group, *one), "dst"), _numbered(*one)) for one in _numbers(rule)
        ]
    return either(found)


def _numbers(rule: ResolvedRule) -> list[tuple[NamedPort, int]]:
    return [(port, number) for port in sorted(rule.named) for number in sorted(rule.named[port])]


def _numbered(port: NamedPort, number: int) -> Match:
    return Term(f"{port.protocol.lower()}.dst == {number}")


def rows_of_both(port: str, switch: Key, groups: Iterable[Match], policies: Iterable[Match]) -> list[Row]:
    """What comes to a NIC of which both security groups and policies say something: each has to let it in."""
    where = both(Term(f'outport == "{port}"'), Term("ip"))
    allowed = both(where, either(groups), either(policies))
    key = port_key(port)
    allow, drop = (added("ACL", key, "NetworkPolicy", name) for name in ("both", "rest"))
    return [
        acl(allow, switch, "to-lport", _BOTH_ALLOW, match=str(allowed), action="allow-related"),
        acl(drop, switch, "to-lport", _BOTH_DROP, match=str(where), action="drop"),
    ]

"""A security group as OVN's rows: a Port_Group whose members name it, and its ACLs.

Of all ACLs that match a packet the one with the highest priority counts (ovn-nb(5), ACL). So what any group allows
passes, what none does is dropped where a group of the NIC says anything of that direction, and what an administrator's
group says comes before both.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from virtnet.api.security_group import GroupPort
from virtnet.topology.acls import Action, Direction, acl, distinct, group_acl, with_tracking
from virtnet.topology.match import (
    EVERYTHING,
    Match,
    Not,
    Side,
    Term,
    addresses_of,
    both,
    either,
    in_port,
    networks,
    out_port,
)
from virtnet.topology.names import added, row_name
from virtnet.topology.ownership import own
from virtnet.topology.rows import Key, Parent, Row

SERVICES_PRIORITY = 2400
"""What a NIC needs to have addresses and neighbours; beyond what anybody denies."""
_CLUSTER_DENY, _CLUSTER_ALLOW, _ALLOW, _DROP, _FREE = 2300, 2200, 2000, 1000, 1

SERVICES: dict[Direction, str] = {
    "from-lport": "(udp.src == 68 && udp.dst == 67) || (udp.src == 546 && udp.dst == 547) || (ip4 && ip.proto == 2)",
    "to-lport": "(udp.src == 67 && udp.dst == 68) || (udp.src == 547 && udp.dst == 546) || (ip4 && ip.proto == 2)",
}
"""DHCP and IGMP. OVN lets ARP, neighbour discovery and MLD pass before all ACLs."""

SYN = Term("tcp.flags == 0x002/0x012")
"""What opens a TCP connection."""


@dataclass(frozen=True)
class PeerSet:
    """Who is on the other side, of one peer of a rule."""

    group: Key | None = None
    """The members of this Port_Group."""
    cidrs: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    def match(self, side: Side) -> Match:
        if self.group is not None:
            return addresses_of(self.group, side)
        within = networks(self.cidrs, side)
        return both(within, Not(networks(self.excluded, side))) if self.excluded else within


@dataclass(frozen=True)
class ResolvedRule:
    """A rule whose peers are found."""

    ports: tuple[GroupPort, ...] = ()
    peers: tuple[PeerSet, ...] | None = None
    """Any of these; None: everybody."""
    deny: bool = False


@dataclass(frozen=True)
class ResolvedGroup:
    """A group whose rules are. A direction of which it says nothing is None."""

    ingress: Sequence[ResolvedRule] | None
    egress: Sequence[ResolvedRule] | None
    stateful: bool = True
    established_by_flags: bool = False
    cluster: bool = False


def isolates(rules: Sequence[ResolvedRule] | None) -> bool:
    """Whether what no rule of a direction lets pass is dropped. Denials alone leave the rest to others."""
    return rules is not None and (not rules or not all(rule.deny for rule in rules))


def group_rows(key: Key, group: ResolvedGroup) -> list[Row]:
    """The Port_Group and its ACLs. Two rules that say the same are one row."""
    rows = [Row(key, {"name": row_name(key), "external_ids": own(key)})]
    acls = distinct((*_directed(key, group, "to-lport"), *_directed(key, group, "from-lport")))
    tracked = group.stateful and (isolates(group.ingress) or isolates(group.egress))
    return [*rows, *(with_tracking(key, acls.values()) if tracked else acls.values())]


def membership(key: Key) -> Parent:
    """How a port is in a group."""
    return Parent(key, "ports")


def _directed(key: Key, group: ResolvedGroup, direction: Direction) -> Iterator[Row]:
    incoming = direction == "to-lport"
    rules, side, port = (group.ingress, "src", out_port(key)) if incoming else (group.egress, "dst", in_port(key))  # type: tuple[Sequence[ResolvedRule] | None, Side, Match]
    if rules is None:
        return
    allow: Action = "allow-related" if group.stateful else "allow-stateless"
    yield group_acl(key, direction, SERVICES_PRIORITY, both(port, Term(SERVICES[direction])), "allow-stateless")
    for number, rule in enumerate(rules):
        if rule.peers == ():
            continue  # of none that is there
        said = f"{'ingress' if incoming else 'egress'}[{number}]"
        of = both(port, Term("ip"), *concerned(rule, side))
        if rule.deny:
            yield group_acl(key, direction, _CLUSTER_DENY, of, "drop", rule=said)
            continue
        priority = _CLUSTER_ALLOW if group.cluster else _ALLOW
        yield group_acl(key, direction, priority, of, allow, rule=said)
        if group.cluster and not incoming:  # also before what policies drop in their own round
            yield group_acl(key, direction, priority, of, allow, after_lb=True, rule=said)
    if not isolates(rules):
        return
    if group.established_by_flags:
        yield group_acl(key, direction, _ALLOW, both(port, Term("tcp"), Not(SYN)), "allow-stateless")
    yield group_acl(key, direction, _DROP, both(port, Term("ip")), "drop")


def concerned(rule: ResolvedRule, side: Side) -> tuple[Match, Match]:
    """Whom and what a rule is about: its peers, and its ports."""
    peers = either(peer.match(side) for peer in rule.peers) if rule.peers is not None else EVERYTHING
    return peers, either(map(sent_to, rule.ports)) if rule.ports else EVERYTHING


def let_in(group: ResolvedGroup) -> Iterator[Match]:
    """What a group lets in, each as one match."""
    for rule in group.ingress or ():
        if rule.peers != () and not rule.deny:
            yield both(*concerned(rule, "src"))
    if group.established_by_flags:
        yield both(Term("tcp"), Not(SYN))


def sent_to(port: GroupPort) -> Match:
    """What is of a protocol, and goes to its ports or has its type."""
    if port.protocol in ("ICMP", "ICMPv6"):
        name = "icmp4" if port.protocol == "ICMP" else "icmp6"
        return Term(f"{name}.type == {port.icmp_type}") if port.icmp_type is not None else Term(name)
    name = port.protocol.lower()
    if port.port is None:
        return Term(name)
    if port.end_port is None or port.end_port == port.port:
        return Term(f"{name}.dst == {port.port}")
    return both(Term(f"{name}.dst >= {port.port}"), Term(f"{name}.dst <= {port.end_port}"))


def free_rows(key: Key) -> list[Row]:
    """A Port_Group of NICs under no stateful rule: their packets meet no connection tracker, whatever neighbours have.

    Without, OVN tracks those of every port of a switch of which a single one is under a stateful rule.
    """
    return [
        Row(key, {"name": row_name(key), "external_ids": own(key)}),
        group_acl(key, "from-lport", _FREE, in_port(key), "allow-stateless"),
        group_acl(key, "to-lport", _FREE, out_port(key), "allow-stateless"),
    ]


def shut_rows(key: Key, switch: Key, port: str) -> list[Row]:
    """A NIC that is to be in a group which is not there: nothing passes but what it needs to have addresses."""
    return [row for direction in _DIRECTIONS for row in _shut(key, switch, port, direction)]


_DIRECTIONS: Iterable[Direction] = ("from-lport", "to-lport")


def _shut(key: Key, switch: Key, port: str, direction: Direction) -> Iterator[Row]:
    where = Term(f'{"inport" if direction == "from-lport" else "outport"} == "{port}"')
    kept: tuple[str, int, Match, Action] = ("services", SERVICES_PRIORITY, Term(SERVICES[direction]), "allow-stateless")
    shut: tuple[str, int, Match, Action] = ("shut", _DROP, Term("ip"), "drop")
    for name, priority, of, action in (kept, shut):
        row = added("ACL", key, "SecurityGroup", f"{direction}-{name}")
        yield acl(row, switch, direction, priority, match=str(both(where, of)), action=action)

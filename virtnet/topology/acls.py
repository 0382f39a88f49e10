"""An ACL of a switch, or of a Port_Group."""

import hashlib
from collections.abc import Iterable
from typing import Literal

from virtnet.topology.match import Either, Match, both, out_port
from virtnet.topology.names import part
from virtnet.topology.ownership import own
from virtnet.topology.rows import Key, Parent, Row, Value

Direction = Literal["from-lport", "to-lport"]
Action = Literal["drop", "allow-related", "allow-stateless"]

AFTER_LB = {"apply-after-lb": "true"}
"""Of an ACL that sees what load balancers have made of a packet: a second look, after that of all others."""


def acl(
    key: Key,
    holder: Key,
    direction: Direction,
    priority: int,
    *,
    match: str,
    action: Action,
    after_lb: bool = False,
    rule: str = "",
) -> Row:
    """``rule``: where its object says so, for people."""
    columns: dict[str, Value] = {"direction": direction, "priority": priority, "match": match, "action": action}
    options: dict[str, Value] = {"options": AFTER_LB} if after_lb else {}
    ids = own(key, {"rule": rule} if rule else {})
    return Row(key, {**columns, **options, "external_ids": ids}, Parent(holder, "acls"))


def group_acl(
    group: Key,
    direction: Direction,
    priority: int,
    of: Match,
    action: Action,
    *,
    after_lb: bool = False,
    rule: str = "",
) -> Row:
    """An ACL of a Port_Group, known by what it says: of two that say the same there is one. ``rule``: as of ``acl``."""
    said = f"{direction} {priority} {action} {of}{' after-lb' if after_lb else ''}"
    key = part("ACL", group, hashlib.sha256(said.encode()).hexdigest()[:16])
    return acl(key, group, direction, priority, match=str(of), action=action, after_lb=after_lb, rule=rule)


def distinct(acls: Iterable[Row]) -> dict[Key, Row]:
    """The first of those that say the same."""
    found: dict[Key, Row] = {}
    for row in acls:
        found.setdefault(row.key, row)
    return found


def with_tracking(group: Key, acls: Iterable[Row]) -> list[Row]:
    """The ACLs, each once, by which answers to what passes do so too, also where all that is said is what does not.

    OVN tracks connections of a switch's ports only where one is under an ACL that allows what is related. This one
    allows nothing.
    """
    found = distinct(acls)
    if found and all(row.columns["action"] != "allow-related" for row in found.values()):
        nothing = group_acl(group, "to-lport", 1, both(out_port(group), Either(())), "allow-related")
        found[nothing.key] = nothing
    return list(found.values())


def any_of(ports: Iterable[str]) -> str:
    """A set of ports, as a match has it."""
    quoted = ", ".join(f'"{port}"' for port in ports)
    return f"{{{quoted}}}"

"""Matches of ACLs as trees (ovn-sb(5), Logical_Flow match). Text comes of them in one way, in parentheses throughout.

OVN takes an ambiguous or broken match without a word, and enforces nothing of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from virtnet.topology.names import row_name
from virtnet.topology.rows import Key

Side = Literal["src", "dst"]


@dataclass(frozen=True)
class Term:
    """A comparison."""

    text: str

    def __str__(self) -> str:
        return f"({self.text})"


@dataclass(frozen=True)
class Both:
    """All of them; of none, everything."""

    parts: tuple["Match", ...]

    def __str__(self) -> str:
        return f"({' && '.join(map(str, self.parts))})" if self.parts else "(1)"


@dataclass(frozen=True)
class Either:
    """Any of them; of none, nothing."""

    parts: tuple["Match", ...]

    def __str__(self) -> str:
        return f"({' || '.join(map(str, self.parts))})" if self.parts else "(0)"


@dataclass(frozen=True)
class Not:
    """What the other does not match."""

    part: "Match"

    def __str__(self) -> str:
        return f"(!{self.part})"


Match = Term | Both | Either | Not

EVERYTHING = Both(())


def both(*parts: Match) -> Match:
    """All of them, without those that match everything."""
    narrow = tuple(part for part in parts if part != EVERYTHING)
    return narrow[0] if len(narrow) == 1 else Both(narrow)


def either(parts: Iterable[Match]) -> Match:
    """Any of them, each once."""
    found = tuple(dict.fromkeys(parts))
    if EVERYTHING in found:
        return EVERYTHING
    return found[0] if len(found) == 1 else Either(found)


def in_port(group: Key) -> Match:
    """What comes from a port of a Port_Group."""
    return Term(f"inport == @{row_name(group)}")


def out_port(group: Key) -> Match:
    """What goes to a port of a Port_Group."""
    return Term(f"outport == @{row_name(group)}")


def addresses_of(group: Key, side: Side) -> Match:
    """Addresses of the ports of a Port_Group: OVN keeps a set of each family for every one."""
    name = row_name(group)
    return Either((Term(f"ip4.{side} == ${name}_ip4"), Term(f"ip6.{side} == ${name}_ip6")))


def networks(cidrs: Iterable[str], side: Side) -> Match:
    """Addresses of any of these networks."""
    found = tuple(dict.fromkeys(cidrs))
    families = (
        ("ip4", [one for one in found if ":" not in one]),
        ("ip6", [one for one in found if ":" in one]),
    )
    return either(Term(f"{ip}.{side} == {{{', '.join(some)}}}") for ip, some in families if some)

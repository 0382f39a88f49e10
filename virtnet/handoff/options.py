"""The part of a logical switch port that a handoff decides: which chassis may have it, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ChassisOptions:
    """What a port says about chassis (ovn-nb(5), Logical_Switch_Port options)."""

    requested: tuple[str, ...] = ()
    """options:requested-chassis, the main one first; empty: whichever chassis has the interface binds it."""
    strategy: str = ""
    """options:activation-strategy; empty: none."""
    journal: Mapping[str, str] = field(default_factory=dict)
    """The handoff's journal, as external_ids without their prefix; empty: no handoff."""

"""The journal of a handoff: in the port's external_ids, written in one transaction with the options it explains.

There is no other memory. Whoever leads next reads it and goes on.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Self

_WORDS = ("instance", "migration", "source", "target", "source_chassis", "target_chassis")
_TIMES = ("since", "armed", "bound", "activated", "ready", "settled")


class HandoffState(enum.StrEnum):
    """How far a handoff is. A port without a journal belongs to one chassis and is not being handed over."""

    ARMED = "Armed"
    """The port belongs to both chassis; the source is main, the target waits for the guest."""

    RELEASING = "Releasing"
    """The guest runs on the target; the source is asked to let go, so that nobody is without a flow to the port."""

    COMMITTING = "Committing"
    """The target alone is written; OVN has yet to follow."""

    ROLLING_BACK = "RollingBack"
    """The source alone is written; OVN has yet to follow."""


@dataclass(frozen=True, kw_only=True)
class HandoffJournal:
    """One handoff: of which instance, from where to where, how far, and when each step was seen."""

    instance: str
    """UID of the VMI: a journal of an earlier instance means nothing to the next."""
    migration: str
    """UID of the VMIM."""
    source: str
    target: str
    """Node names."""
    pod: str = ""
    """The one that the guest leaves: another one may come to the source's node before the handoff has ended."""
    source_chassis: str
    target_chassis: str
    """Their chassis names, kept because a node may be gone before its handoff has ended."""
    state: HandoffState
    since: datetime
    """When this state was entered."""
    armed: datetime
    fallback_reason: str = ""
    """Why OVN's activation strategy is used; empty where the target's gate does it better."""
    strategy: str = ""
    """Which one that is."""
    reason: str = ""
    """Why it is rolled back."""
    bound: datetime | None = None
    activated: datetime | None = None
    """When OVN heard what its activation strategy waits for."""
    ready: datetime | None = None
    settled: datetime | None = None
    """When the target alone had the port."""

    def enter(self, state: HandoffState, now: datetime) -> Self:
        return replace(self, state=state, since=now)

    def read_at(self, now: datetime) -> Self:
        """The journal as one whose clock says ``now`` counts by it.

        Another controller wrote it, whose clock may be ahead: what has yet to come by ours has come just now, so that
        nothing is waited for longer than it may take.
        """
        settled = min(self.settled, now) if self.settled else None
        return replace(self, since=min(self.since, now), settled=settled)

    def entries(self) -> dict[str, str]:
        """The journal as external_ids, without prefix. Times are RFC 3339, UTC."""
        return {
            f.name: value.isoformat() if isinstance(value, datetime) else str(value)
            for f in fields(self)
            if (value := getattr(self, f.name))
        }

    @classmethod
    def read(cls, entries: Mapping[str, str]) -> Self | None:
        """The journal of a port; None where there is none, or where what is there cannot be understood.

        An unreadable journal is as good as none: the machine then decides from the live objects alone.
        """
        if not entries:
            return None
        try:
            times = {name: _time(entries[name]) for name in _TIMES if name in entries}
            words = {name: entries[name] for name in _WORDS}
            words |= {name: entries.get(name, "") for name in ("pod", "fallback_reason", "strategy", "reason")}
            return cls(**words, **times, state=HandoffState(entries["state"]))  # type: ignore[arg-type]  # names match by construction
        except (KeyError, ValueError, TypeError):
            return None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)

"""The journal of a handoff that is all but over, for tests of what is told of it."""

from datetime import UTC, datetime, timedelta

from virtnet.handoff.journal import HandoffJournal, HandoffState

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def journal(migration: str = "m1") -> HandoffJournal:
    return HandoffJournal(
        instance="i",
        migration=migration,
        source="node1",
        target="node2",
        source_chassis="ch1",
        target_chassis="ch2",
        state=HandoffState.COMMITTING,
        since=NOW,
        armed=NOW,
        bound=NOW + timedelta(milliseconds=12),
        ready=NOW + timedelta(seconds=2),
    )

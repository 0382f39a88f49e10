"""What people are told of handoffs."""

from datetime import UTC, datetime, timedelta

import pytest

from virtnet.controllers.reports import KEPT_HANDOFFS, record_of, story, with_record
from virtnet.handoff.journal import Journal, State
from virtnet.handoff.machine import Outcome

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def journal(migration: str = "m1") -> Journal:
    return Journal(
        instance="i",
        migration=migration,
        source="node1",
        target="node2",
        source_chassis="ch1",
        target_chassis="ch2",
        state=State.COMMITTING,
        since=NOW,
        armed=NOW,
        bound=NOW + timedelta(milliseconds=12),
        ready=NOW + timedelta(seconds=2),
    )


def test_what_has_ended_is_not_overwritten_by_a_late_report() -> None:
    ended = record_of(journal(), "Committed", message="done", finished=NOW)
    late = record_of(journal(), "Committing", message="waits")
    assert with_record((ended,), late) == (ended,)
    assert with_record((late,), ended) == (ended,)


def test_the_last_ones_are_kept_newest_first() -> None:
    records = ()
    for number in range(KEPT_HANDOFFS + 2):
        records = with_record(records, record_of(journal(f"m{number}"), "Committed", message="", finished=NOW))
    assert [one.migration for one in records] == [f"m{n}" for n in range(KEPT_HANDOFFS + 1, 1, -1)]


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        pytest.param(
            Outcome.COMMITTED,
            "node1 -> node2, bound there after 12 ms, on node2 alone 41 ms after the guest was known to run there",
            id="committed",
        ),
        pytest.param(Outcome.ROLLED_BACK, "node1 -> node2 rolled back: the port stays on node1", id="rolled back"),
        pytest.param(Outcome.ABANDONED, "node1 -> node2 ended with the VM instance", id="abandoned"),
    ],
)
def test_one_sentence_tells_the_story(outcome: Outcome, text: str) -> None:
    assert story(journal(), outcome, NOW + timedelta(seconds=2, milliseconds=41)) == text

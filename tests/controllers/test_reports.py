"""What people are told of handoffs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from virtnet.controllers.reports import KEPT_HANDOFFS, record_of, story, stuck_condition, with_record, without_lost
from virtnet.controllers.waits import Waits
from virtnet.handoff.journal import Journal, State
from virtnet.handoff.machine import STUCK_AFTER, Decision, Outcome
from virtnet.handoff.options import ChassisOptions

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


def test_a_record_whose_journal_was_lost_is_closed_once_nothing_can_come_of_it() -> None:
    armed = record_of(journal("m1"), "Armed", message="waits")
    ended = record_of(journal("m0"), "Committed", message="done", finished=NOW)
    assert without_lost((armed, ended), frozenset({"m1"}), NOW) == (armed, ended)
    closed, kept = without_lost((armed, ended), frozenset({"m2"}), NOW)
    assert (closed.state, closed.finished_at, kept) == ("Lost", NOW, ended)


def test_the_last_ones_are_kept_newest_first() -> None:
    records = ()
    for number in range(KEPT_HANDOFFS + 2):
        records = with_record(records, record_of(journal(f"m{number}"), "Committed", message="", finished=NOW))
    assert [one.migration for one in records] == [f"m{n}" for n in range(KEPT_HANDOFFS + 1, 1, -1)]


@pytest.mark.parametrize(
    ("changes", "outcome", "text"),
    [
        pytest.param({}, Outcome.COMMITTED, "armed node2 in 12 ms, guest running, committed; 41 ms", id="committed"),
        pytest.param(
            {"gateless": "Linux 5.10 is too old"},
            Outcome.COMMITTED,
            "armed node2 in 12 ms, without a gate (Linux 5.10 is too old), guest running, committed; 41 ms",
            id="without a gate",
        ),
        pytest.param(
            {"bound": None, "ready": None},
            Outcome.ROLLED_BACK,
            "armed node2, rolled back: the guest stayed on node1; 2041 ms",
            id="rolled back",
        ),
        pytest.param(
            {}, Outcome.ABANDONED, "armed node2 in 12 ms, guest running, the VM instance ended", id="abandoned"
        ),
    ],
)
def test_one_sentence_tells_the_story(changes: dict[str, Any], outcome: Outcome, text: str) -> None:
    assert story(replace(journal(), **changes), outcome, NOW + timedelta(seconds=2, milliseconds=41)) == text


def test_a_port_says_that_it_is_stuck_and_that_it_is_no_more() -> None:
    assert stuck_condition((), "", 1) == ()
    stuck = stuck_condition((), "OVN", 1)
    assert [(one.type, one.status, one.message) for one in stuck] == [("HandoffStuck", "True", "waits for OVN")]
    moving = stuck_condition(stuck, "", 1)
    assert [(one.type, one.status, one.message) for one in moving] == [("HandoffStuck", "False", "")]


def test_what_takes_too_long_is_stuck_unless_it_may_take_long() -> None:
    waits, end = Waits(), NOW + STUCK_AFTER
    slow = Decision(options=ChassisOptions(), wait="OVN")
    assert waits.note("a", slow, NOW) == STUCK_AFTER
    waits.note("b", Decision(options=ChassisOptions(), wait="the guest", patient=True), NOW)
    assert waits.note("a", slow, NOW + STUCK_AFTER / 2) == STUCK_AFTER / 2
    assert (waits.stuck("a", NOW), waits.stuck("a", end), waits.stuck("b", end)) == ("", "OVN", "")
    waits.note("a", replace(slow, wait="something else"), end)
    assert waits.count(end) == 0
    waits.note("a", None, end)
    assert waits.text("a") == ""

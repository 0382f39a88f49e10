"""What people are told of handoffs."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.controllers.journals import NOW, journal
from virtnet.controllers.reports import stuck_condition
from virtnet.controllers.stories import KEPT_HANDOFFS, missing, record_of, story, with_record, without_lost
from virtnet.controllers.waits import Waits, moment
from virtnet.handoff.facts import Told
from virtnet.handoff.machine import STUCK_AFTER, Decision, Ending, Outcome
from virtnet.handoff.options import ChassisOptions


def test_what_has_ended_is_not_overwritten_by_a_late_report() -> None:
    ended = record_of(journal(), Told(), "Committed", message="done", finished=NOW)
    late = record_of(journal(), Told(), "Committing", message="waits")
    assert with_record((ended,), late) == (ended,)
    assert with_record((late,), ended) == (ended,)


def test_a_record_whose_journal_was_lost_is_closed_once_nothing_can_come_of_it() -> None:
    armed = record_of(journal("m1"), Told(), "Armed", message="waits")
    ended = record_of(journal("m0"), Told(), "Committed", message="done", finished=NOW)
    assert without_lost((armed, ended), frozenset({"m1"}), NOW) == (armed, ended)
    closed, kept = without_lost((armed, ended), frozenset({"m2"}), NOW)
    assert (closed.state, closed.finished_at, kept) == ("Lost", NOW, ended)


def test_the_last_ones_are_kept_newest_first() -> None:
    records = ()
    for number in range(KEPT_HANDOFFS + 2):
        records = with_record(records, record_of(journal(f"m{number}"), Told(), "Committed", message="", finished=NOW))
    assert [one.migration for one in records] == [f"m{n}" for n in range(KEPT_HANDOFFS + 1, 1, -1)]


def test_two_controllers_agree_about_the_order_though_one_knows_an_earlier_ending_only() -> None:
    earlier = record_of(journal("m0"), Told(), "RolledBack", message="the migration failed", finished=NOW)
    later = replace(journal("m1"), armed=NOW + timedelta(seconds=1))
    records = with_record((earlier,), record_of(later, Told(), "Armed", message="waits"))
    ended = record_of(later, Told(), "Committed", message="done", finished=NOW)
    for told in (ended, earlier, ended, earlier):
        records = with_record(records, told)
    assert [one.migration for one in records] == ["m1", "m0"]


def test_what_a_node_has_told_stays_told_though_its_daemon_forgets() -> None:
    told = record_of(journal(), Told(opened=NOW, answered=NOW, carried=14), "Armed", message="waits")
    (kept,) = with_record((told,), record_of(journal(), Told(), "Committed", message="done", finished=NOW))
    assert (kept.state, kept.activated_at, kept.answered_at, kept.carried) == ("Committed", NOW, NOW, 14)


HEARD = Told(opened=NOW, asked=NOW, answered=NOW, carried=14)
OVN = {"gateless": "Linux 5.10 is too old", "strategy": "rarp", "activated": NOW}


@pytest.mark.parametrize(
    ("changes", "told", "outcome", "text"),
    [
        pytest.param(
            {},
            HEARD,
            Outcome.COMMITTED,
            "armed node2 in 12 ms, guest running, 14 frames carried over, committed; 41 ms",
            id="committed",
        ),
        pytest.param(
            {},
            replace(HEARD, carried=1),
            Outcome.COMMITTED,
            "armed node2 in 12 ms, guest running, 1 frame carried over, committed; 41 ms",
            id="one frame",
        ),
        pytest.param(
            OVN,
            Told(asked=NOW, answered=NOW),
            Outcome.COMMITTED,
            "armed node2 in 12 ms, held back by OVN until rarp, for want of a gate (Linux 5.10 is too old), guest "
            "running, committed; 41 ms",
            id="without a gate",
        ),
        pytest.param(
            {},
            replace(HEARD, carried=None, undrained="no tap"),
            Outcome.COMMITTED,
            "armed node2 in 12 ms, guest running, committed; 41 ms, frames of its pause lost (no tap)",
            id="without a drain",
        ),
        pytest.param(
            {"settled": NOW + timedelta(seconds=2, milliseconds=31)},
            Told(asked=NOW),
            Outcome.COMMITTED,
            "armed node2 in 12 ms, guest running, unannounced, committed; 31 ms, but the guest has answered nothing "
            "there for 10 ms",
            id="silent",
        ),
        pytest.param(
            {},
            replace(HEARD, asked=None, answered=None),
            Outcome.COMMITTED,
            "armed node2 in 12 ms, guest running, 14 frames carried over, committed; 41 ms, but nobody has asked the "
            "guest whether it is there",
            id="not asked",
        ),
        pytest.param(
            {"bound": None, "ready": None, "reason": "the migration failed"},
            Told(),
            Outcome.ROLLED_BACK,
            "armed node2, rolled back because the migration failed; the guest stayed on node1; 2041 ms",
            id="rolled back",
        ),
        pytest.param(
            {},
            replace(HEARD, carried=None),
            Outcome.ABANDONED,
            "armed node2 in 12 ms, guest running, the VM instance ended",
            id="abandoned",
        ),
    ],
)
def test_one_sentence_tells_the_story(changes: dict[str, Any], told: Told, outcome: Outcome, text: str) -> None:
    ending = Ending(outcome=outcome, journal=replace(journal(), **changes), told=told)
    assert story(ending, NOW + timedelta(seconds=2, milliseconds=41)) == text


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        pytest.param(Told(asked=NOW), "GuestSilent", id="asked in vain"),
        pytest.param(Told(opened=NOW), "GuestNotAsked", id="not asked"),
    ],
)
def test_a_guest_that_nobody_has_heard_is_told_of(told: Told, reason: str) -> None:
    said, text = missing(Ending(outcome=Outcome.COMMITTED, journal=journal(), told=told))
    assert said == reason
    assert "node2" in text


def test_a_port_says_that_it_is_stuck_and_that_it_is_no_more() -> None:
    assert stuck_condition((), "", 1) == ()
    stuck = stuck_condition((), "OVN", 1)
    assert [(one.type, one.status, one.message) for one in stuck] == [("HandoffStuck", "True", "waits for OVN")]
    moving = stuck_condition(stuck, "", 1)
    assert [(one.type, one.status, one.message) for one in moving] == [("HandoffStuck", "False", "")]


def test_what_takes_too_long_is_stuck_unless_it_may_take_long() -> None:
    waits, start = Waits(), moment()
    end = start + STUCK_AFTER
    slow = Decision(options=ChassisOptions(), wait="OVN")
    assert waits.note("a", slow, start) == STUCK_AFTER
    waits.note("b", Decision(options=ChassisOptions(), wait="the guest", patient=True), start)
    assert waits.note("a", slow, start + STUCK_AFTER / 2) == STUCK_AFTER / 2
    assert (waits.stuck("a", start), waits.stuck("a", end), waits.stuck("b", end)) == ("", "OVN", "")
    waits.note("a", replace(slow, wait="something else"), end)
    assert waits.count(end) == 0
    waits.note("a", None, end)
    assert waits.text("a") == ""

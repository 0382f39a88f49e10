"""What people are told of handoffs."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.controllers.journals import NOW, journal
from virtnet.api import HandoffRecord
from virtnet.controllers.stuck import StuckHandoffs, moment
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import with_conditions
from virtnet.features.effects import HandoffWait
from virtnet.features.handoff_records import KEPT_HANDOFFS, record_of, summary_of, unverified, with_record, without_lost
from virtnet.features.ovn_state import PendingHandoff
from virtnet.features.port_report import stuck_state
from virtnet.handoff.facts import HandoffReport
from virtnet.handoff.machine import STUCK_AFTER, Ending, HandoffOutcome


def test_what_has_ended_is_not_overwritten_by_a_late_report() -> None:
    ended = record_of(journal(), HandoffReport(), "Committed", message="done", finished=NOW)
    late = record_of(journal(), HandoffReport(), "Committing", message="waits")
    assert with_record((ended,), late) == (ended,)
    assert with_record((late,), ended) == (ended,)


def test_a_record_whose_journal_was_lost_is_closed_once_nothing_can_come_of_it() -> None:
    armed = record_of(journal("m1"), HandoffReport(), "Armed", message="waits")
    ended = record_of(journal("m0"), HandoffReport(), "Committed", message="done", finished=NOW)
    assert without_lost((armed, ended), frozenset({"m1"}), NOW) == (armed, ended)
    closed, kept = without_lost((armed, ended), frozenset({"m2"}), NOW)
    assert (closed.state, closed.finished_at, kept) == ("Lost", NOW, ended)


def test_the_last_ones_are_kept_newest_first() -> None:
    records: tuple[HandoffRecord, ...] = ()
    for number in range(KEPT_HANDOFFS + 2):
        records = with_record(
            records, record_of(journal(f"m{number}"), HandoffReport(), "Committed", message="", finished=NOW)
        )
    assert [one.migration for one in records] == [f"m{n}" for n in range(KEPT_HANDOFFS + 1, 1, -1)]


def test_two_controllers_agree_about_the_order_though_one_knows_an_earlier_ending_only() -> None:
    earlier = record_of(journal("m0"), HandoffReport(), "RolledBack", message="the migration failed", finished=NOW)
    later = replace(journal("m1"), armed=NOW + timedelta(seconds=1))
    records = with_record((earlier,), record_of(later, HandoffReport(), "Armed", message="waits"))
    ended = record_of(later, HandoffReport(), "Committed", message="done", finished=NOW)
    for record in (ended, earlier, ended, earlier):
        records = with_record(records, record)
    assert [one.migration for one in records] == ["m1", "m0"]


def test_what_a_node_has_told_stays_told_though_its_daemon_forgets() -> None:
    record = record_of(
        journal(), HandoffReport(gate_opened=NOW, answered=NOW, forwarded_frames=14), "Armed", message="waits"
    )
    (kept,) = with_record((record,), record_of(journal(), HandoffReport(), "Committed", message="done", finished=NOW))
    assert (kept.state, kept.activated_at, kept.answered_at, kept.forwarded_frames) == ("Committed", NOW, NOW, 14)


HEARD = HandoffReport(gate_opened=NOW, probed=NOW, answered=NOW, forwarded_frames=14)
OVN = {"fallback_reason": "Linux 5.10 is too old", "strategy": "rarp", "activated": NOW}


@pytest.mark.parametrize(
    ("changes", "report", "outcome", "text"),
    [
        pytest.param(
            {},
            HEARD,
            HandoffOutcome.COMMITTED,
            "armed node2 in 12 ms, guest running, 14 frames forwarded, committed; 41 ms",
            id="committed",
        ),
        pytest.param(
            {},
            replace(HEARD, forwarded_frames=1),
            HandoffOutcome.COMMITTED,
            "armed node2 in 12 ms, guest running, 1 frame forwarded, committed; 41 ms",
            id="one frame",
        ),
        pytest.param(
            OVN,
            HandoffReport(probed=NOW, answered=NOW),
            HandoffOutcome.COMMITTED,
            "armed node2 in 12 ms, held back by OVN until rarp, for want of a gate (Linux 5.10 is too old), guest "
            "running, committed; 41 ms",
            id="without a gate",
        ),
        pytest.param(
            {},
            replace(HEARD, forwarded_frames=None, drain_error="no tap"),
            HandoffOutcome.COMMITTED,
            "armed node2 in 12 ms, guest running, committed; 41 ms, frames of its pause lost (no tap)",
            id="without a drain",
        ),
        pytest.param(
            {"settled": NOW + timedelta(seconds=2, milliseconds=31)},
            HandoffReport(probed=NOW),
            HandoffOutcome.COMMITTED,
            "armed node2 in 12 ms, guest running, unannounced, committed; 31 ms, but the guest has answered nothing "
            "there for 10 ms",
            id="silent",
        ),
        pytest.param(
            {},
            replace(HEARD, probed=None, answered=None),
            HandoffOutcome.COMMITTED,
            "armed node2 in 12 ms, guest running, 14 frames forwarded, committed; 41 ms, but no node has verified that "
            "the guest is there",
            id="not asked",
        ),
        pytest.param(
            {"bound": None, "ready": None, "reason": "the migration failed"},
            HandoffReport(),
            HandoffOutcome.ROLLED_BACK,
            "armed node2, rolled back because the migration failed; the guest stayed on node1; 2041 ms",
            id="rolled back",
        ),
        pytest.param(
            {},
            replace(HEARD, forwarded_frames=None),
            HandoffOutcome.ABANDONED,
            "armed node2 in 12 ms, guest running, the VM instance ended",
            id="abandoned",
        ),
    ],
)
def test_one_sentence_tells_the_story(
    changes: dict[str, Any], report: HandoffReport, outcome: HandoffOutcome, text: str
) -> None:
    ending = Ending(outcome=outcome, journal=replace(journal(), **changes), report=report)
    assert summary_of(ending, NOW + timedelta(seconds=2, milliseconds=41)) == text


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        pytest.param(HandoffReport(probed=NOW), "GuestSilent", id="asked in vain"),
        pytest.param(HandoffReport(gate_opened=NOW), "GuestUnverified", id="not asked"),
    ],
)
def test_a_guest_that_nobody_has_heard_is_told_of(report: HandoffReport, reason: str) -> None:
    said, text = unverified(Ending(outcome=HandoffOutcome.COMMITTED, journal=journal(), report=report))
    assert said == reason
    assert "node2" in text


def test_a_port_says_that_it_is_stuck_and_that_it_is_no_more() -> None:
    assert with_conditions((), [stuck_state("")], 1) == ()
    stuck = with_conditions((), [stuck_state("OVN")], 1)
    assert [(one.type, one.status, one.message) for one in stuck] == [("HandoffStuck", "True", "waits for OVN")]
    moving = with_conditions(stuck, [stuck_state("")], 1)
    assert [(one.type, one.status, one.message) for one in moving] == [("HandoffStuck", "False", "")]


def test_what_takes_too_long_is_stuck_unless_it_may_take_long() -> None:
    handoffs, start = StuckHandoffs(), moment()
    end = start + STUCK_AFTER
    slow = HandoffWait(ObjectKey("Port", "demo", "a"), "OVN")
    copying = HandoffWait(ObjectKey("Port", "demo", "b"), "the guest", patient=True)
    assert handoffs.note(slow, start) == (PendingHandoff("OVN", patient=False), STUCK_AFTER)
    assert handoffs.note(copying, start) == (PendingHandoff("the guest", patient=True), None)
    assert handoffs.note(slow, start + STUCK_AFTER / 2) == (PendingHandoff("OVN", patient=False), STUCK_AFTER / 2)
    assert handoffs.note(slow, end) == (PendingHandoff("OVN", patient=False, stuck=True), None)
    assert handoffs.note(copying, end) == (PendingHandoff("the guest", patient=True), None)
    assert handoffs.count(end) == 1
    handoffs.note(replace(slow, text="something else"), end)
    assert handoffs.count(end) == 0
    assert handoffs.note(replace(slow, text=""), end) == (None, None)

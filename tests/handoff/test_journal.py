"""What a handoff remembers, in OVN."""

from datetime import timedelta

import pytest

from tests.handoff.case import BOTH, NOW, SINGLE, facts, journal
from virtnet.handoff.facts import HandoffReport
from virtnet.handoff.journal import HandoffJournal, HandoffState
from virtnet.handoff.machine import decide
from virtnet.handoff.options import ChassisOptions


def test_what_the_nodes_tell_on_the_way_is_not_written_to_ovn() -> None:
    """Each write makes northd compute, while the one that matters waits."""
    armed = ChassisOptions(requested=("ch1", "ch2"), journal=journal(HandoffState.ARMED).entries())
    report = HandoffReport(gate_opened=NOW, probed=NOW, answered=NOW, forwarded_frames=14)
    assert decide(facts(options=armed, binding=BOTH, reports={"m1": report})).options == armed


def test_the_journal_survives_its_own_external_ids() -> None:
    whole = journal(
        HandoffState.RELEASING, activated=NOW + timedelta(milliseconds=7), ready=NOW + timedelta(milliseconds=9)
    )
    assert HandoffJournal.read(whole.entries()) == whole


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param({}, id="none"),
        pytest.param({"state": "Armed"}, id="half of it"),
        pytest.param({**journal(HandoffState.ARMED).entries(), "state": "Dancing"}, id="unknown state"),
        pytest.param({**journal(HandoffState.ARMED).entries(), "since": "yesterday"}, id="no time"),
    ],
)
def test_an_unreadable_journal_is_no_journal(entries: dict[str, str]) -> None:
    assert HandoffJournal.read(entries) is None
    assert decide(facts(options=ChassisOptions(requested=("ch1", "ch2"), journal=entries))).options == SINGLE

"""What a handoff remembers, in OVN."""

from datetime import timedelta

import pytest

from tests.handoff.case import BOTH, NOW, SINGLE, facts, journal
from virtnet.handoff.facts import Told
from virtnet.handoff.journal import Journal, State
from virtnet.handoff.machine import decide
from virtnet.handoff.options import ChassisOptions


def test_what_the_nodes_tell_on_the_way_is_not_written_to_ovn() -> None:
    """Each write makes northd compute, while the one that matters waits."""
    armed = ChassisOptions(requested=("ch1", "ch2"), journal=journal(State.ARMED).entries())
    told = Told(opened=NOW, asked=NOW, answered=NOW, carried=14)
    assert decide(facts(options=armed, binding=BOTH, told={"m1": told})).options == armed


def test_the_journal_survives_its_own_external_ids() -> None:
    whole = journal(State.RELEASING, activated=NOW + timedelta(milliseconds=7), ready=NOW + timedelta(milliseconds=9))
    assert Journal.read(whole.entries()) == whole


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param({}, id="none"),
        pytest.param({"state": "Armed"}, id="half of it"),
        pytest.param({**journal(State.ARMED).entries(), "state": "Dancing"}, id="unknown state"),
        pytest.param({**journal(State.ARMED).entries(), "since": "yesterday"}, id="no time"),
    ],
)
def test_an_unreadable_journal_is_no_journal(entries: dict[str, str]) -> None:
    assert Journal.read(entries) is None
    assert decide(facts(options=ChassisOptions(requested=("ch1", "ch2"), journal=entries))).options == SINGLE

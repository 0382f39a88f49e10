"""What a handoff waits for, whom it asks, and whether that may take long."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.handoff.case import BOTH, BOUND, LEFT, NOW, RUNNING, facts, options
from virtnet.handoff.facts import Binding
from virtnet.handoff.journal import HandoffState
from virtnet.handoff.machine import RELEASE_TIMEOUT, SETTLE_TIMEOUT, UNPROBED_AFTER, decide


@pytest.mark.parametrize(
    ("state", "given", "release", "again", "wait"),
    [
        pytest.param(HandoffState.ARMED, {}, "", None, "the guest to run on node2", id="armed"),
        pytest.param(HandoffState.RELEASING, {}, "node1", RELEASE_TIMEOUT, "node1 to let go", id="releasing"),
        pytest.param(
            HandoffState.RELEASING,
            {"binding": replace(BOTH, chassis="")},
            "node1",
            None,
            "OVN to bind the port on node2 alone",
            id="released",
        ),
        pytest.param(
            HandoffState.COMMITTING, {}, "node1", SETTLE_TIMEOUT, "OVN to bind the port on node2 alone", id="committing"
        ),
        pytest.param(
            HandoffState.COMMITTING,
            {"binding": Binding(chassis="ch2")},
            "node1",
            UNPROBED_AFTER,
            "node2 to probe the guest",
            id="settled: the source must not take it back",
        ),
        pytest.param(HandoffState.ROLLING_BACK, {}, "", SETTLE_TIMEOUT, "OVN to leave node2", id="rolling back"),
    ],
)
def test_release_is_asked_of_the_source_only_once_the_guest_has_left_it(
    state: HandoffState, given: dict[str, object], release: str, again: timedelta | None, wait: str
) -> None:
    decision = decide(facts(**{"options": options(state), "binding": BOTH, **given}))
    assert (decision.release, decision.again) == (release, again)
    assert wait in decision.wait


@pytest.mark.parametrize(
    ("bound", "given", "wait", "patient"),
    [
        pytest.param(None, {"binding": BOUND}, "OVN to know chassis ch2", False, id="OVN does not know the target"),
        pytest.param(
            None,
            {"binding": replace(BOUND, requested_additional=frozenset({"ch2"}))},
            "OVN to bind the port on node2 too",
            False,
            id="OVN knows it and has not followed",
        ),
        pytest.param(None, {"binding": BOTH}, "the guest to run on node2", True, id="now it has"),
        pytest.param(NOW, {"binding": BOUND}, "the guest to run on node2", True, id="it had before"),
        pytest.param(
            NOW,
            {"binding": BOTH, "instance": replace(RUNNING, state=LEFT)},
            "left node1 for good",
            False,
            id="post-copy: nobody may take long any more",
        ),
    ],
)
def test_an_armed_port_says_what_it_waits_for(
    bound: datetime | None, given: dict[str, object], wait: str, *, patient: bool
) -> None:
    decision = decide(facts(options=options(HandoffState.ARMED, bound=bound), **given))
    assert wait in decision.wait
    assert decision.patient is patient


@pytest.mark.parametrize("state", [HandoffState.RELEASING, HandoffState.COMMITTING, HandoffState.ROLLING_BACK])
def test_what_others_than_the_guest_are_waited_for_may_not_take_long(state: HandoffState) -> None:
    decision = decide(facts(options=options(state), binding=BOTH))
    assert decision.wait
    assert not decision.patient

"""When a handoff is over, and how."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.handoff.case import BOTH, BOUND, HEARD, LEFT, NOW, READY, RUNNING, SOURCE, TARGET, facts, options
from virtnet.features.handoff_records import summary_of
from virtnet.features.workloads import instance_of
from virtnet.handoff.facts import Binding, HandoffReport, Instance, LauncherPod
from virtnet.handoff.journal import HandoffState
from virtnet.handoff.machine import (
    SETTLE_TIMEOUT,
    SILENT_AFTER,
    UNCOUNTED_AFTER,
    UNPROBED_AFTER,
    HandoffOutcome,
    decide,
    unreported,
)
from virtnet.handoff.options import ChassisOptions


@pytest.mark.parametrize(
    ("state", "chassis", "outcome"),
    [
        pytest.param(HandoffState.COMMITTING, "ch2", HandoffOutcome.COMMITTED, id="committed"),
        pytest.param(HandoffState.ROLLING_BACK, "ch1", HandoffOutcome.ROLLED_BACK, id="rolled back"),
    ],
)
def test_ends_when_ovn_has_followed(state: HandoffState, chassis: str, outcome: HandoffOutcome) -> None:
    decision = decide(facts(options=options(state), binding=Binding(chassis=chassis), reports=HEARD))
    assert decision.ended is not None
    assert decision.ended.outcome is outcome
    assert decision.options == ChassisOptions(requested=(chassis,))


@pytest.mark.parametrize("state", [HandoffState.COMMITTING, HandoffState.ROLLING_BACK])
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"chassis": ""}, id="nobody has it"),
        pytest.param({"chassis": "ch3"}, id="another has it"),
        pytest.param({"additional": frozenset({"ch3"})}, id="another has it, too"),
        pytest.param({"requested_additional": frozenset({"ch3"})}, id="another is still to have it"),
        pytest.param({"activated": frozenset({"ch2"})}, id="its flag stands"),
    ],
)
def test_does_not_end_before_ovn_has_followed(state: HandoffState, changes: dict[str, Any]) -> None:
    chassis = "ch2" if state is HandoffState.COMMITTING else "ch1"
    done = Binding(chassis=chassis)
    assert decide(facts(options=options(state), binding=done, reports=HEARD)).ended is not None
    assert decide(facts(options=options(state), binding=replace(done, **changes), reports=HEARD)).ended is None


@pytest.mark.parametrize(
    ("state", "chassis", "outcome"),
    [
        pytest.param(HandoffState.COMMITTING, "ch2", HandoffOutcome.COMMITTED, id="committed"),
        pytest.param(HandoffState.ROLLING_BACK, "ch1", HandoffOutcome.ROLLED_BACK, id="rolled back"),
    ],
)
def test_a_dead_chassis_that_never_leaves_is_not_waited_for_for_ever(
    state: HandoffState, chassis: str, outcome: HandoffOutcome
) -> None:
    stuck = {"binding": Binding(chassis=chassis, additional=frozenset({"ch3"})), "reports": HEARD}
    assert decide(facts(options=options(state), **stuck)).ended is None
    late = decide(facts(options=options(state), **stuck, now=NOW + SETTLE_TIMEOUT))
    assert late.ended is not None
    assert late.ended.outcome is outcome


@pytest.mark.parametrize("state", [HandoffState.COMMITTING, HandoffState.ROLLING_BACK])
def test_a_flag_that_came_late_is_taken_off_once_ovn_has_followed(state: HandoffState) -> None:
    chassis = "ch2" if state is HandoffState.COMMITTING else "ch1"
    flagged = Binding(chassis=chassis, activated=frozenset({"ch2"}))
    assert decide(facts(options=options(state), binding=flagged)).evict == {"ch2"}
    early = replace(flagged, requested_additional=frozenset({"ch2"}))
    assert decide(facts(options=options(state), binding=early)).evict == frozenset()
    unwritten = replace(options(state), requested=("ch1", "ch2"))
    assert decide(facts(options=unwritten, binding=flagged)).evict == frozenset()


OPENED = HandoffReport(gate_opened=NOW, probed=NOW, answered=NOW)


@pytest.mark.parametrize(
    ("report", "changes", "wait", "most"),
    [
        pytest.param(None, {}, "node2 to probe the guest", UNPROBED_AFTER, id="nobody has asked it yet"),
        pytest.param(HandoffReport(probed=NOW), {}, "the guest to answer", SILENT_AFTER, id="it is asked"),
        pytest.param(OPENED, {}, "node1 to count", UNCOUNTED_AFTER, id="what was sent on is not known yet"),
        pytest.param(replace(OPENED, forwarded_frames=0), {}, "", None, id="nothing had to be sent on"),
        pytest.param(replace(OPENED, drain_error="no tap"), {}, "", None, id="nothing could be sent on"),
        pytest.param(OPENED, {"fallback_reason": "an old kernel"}, "", None, id="without a gate nothing is sent on"),
        pytest.param(replace(OPENED, gate_opened=None), {}, "", None, id="the gate was opened by others: no drain"),
    ],
)
def test_a_port_that_has_arrived_waits_a_while_for_what_there_is_to_tell(
    report: HandoffReport | None, changes: dict[str, str], wait: str, most: timedelta | None
) -> None:
    given = {"binding": Binding(chassis="ch2"), "reports": {"m1": report} if report else {}}
    first = decide(facts(options=options(HandoffState.COMMITTING, **changes), **given))
    assert first.options.requested == ("ch2",)
    if most is None:
        assert first.ended is not None
        return
    assert first.ended is None
    assert wait in first.wait
    assert first.again == most
    later = NOW + most - timedelta(milliseconds=1)
    still = decide(facts(options=first.options, **given, now=later))
    assert (still.ended, still.options, still.again) == (None, first.options, timedelta(milliseconds=1))
    last = decide(facts(options=first.options, **given, now=NOW + most)).ended
    assert last is not None
    assert (last.outcome, last.report, last.journal.settled) == (
        HandoffOutcome.COMMITTED,
        report or HandoffReport(),
        NOW,
    )
    all_reports = {"m1": replace(OPENED, forwarded_frames=1)}
    heard = decide(facts(options=first.options, binding=Binding(chassis="ch2"), reports=all_reports, now=later)).ended
    assert heard is not None
    assert (heard.report, heard.journal.settled) == (all_reports["m1"], NOW)


@pytest.mark.parametrize("report", [HandoffReport(), HandoffReport(probed=NOW)], ids=["not probed", "probed"])
def test_nobody_waits_for_a_paused_guest_or_calls_it_silent(report: HandoffReport) -> None:
    paused = replace(RUNNING, node="node2", paused=True)
    arrived = {"binding": Binding(chassis="ch2"), "reports": {"m1": report}, "instance": paused}
    decision = decide(facts(options=options(HandoffState.COMMITTING), **arrived))
    assert decision.ended is not None
    assert decision.ended.outcome is HandoffOutcome.COMMITTED
    assert not decision.ended.report.silent
    assert not decision.ended.report.unanswered
    assert summary_of(decision.ended, NOW).endswith("the guest is paused")


def test_nobody_waits_for_what_nodes_cannot_see_without_a_link() -> None:
    drained = {"m1": HandoffReport(drain_error="no link")}
    arrived = {"binding": Binding(chassis="ch2"), "instance": replace(RUNNING, node="node2"), "link": False}
    decision = decide(facts(options=options(HandoffState.COMMITTING, ready=NOW), reports=drained, **arrived))
    assert decision.ended is not None
    assert decision.ended.outcome is HandoffOutcome.COMMITTED
    assert not decision.ended.report.unanswered
    assert summary_of(decision.ended, NOW) == (
        "armed node2 in 0 ms, guest running, committed; 0 ms, the guest was not probed, because nodes have no link of "
        "its NIC, frames of its pause lost (no link)"
    )


@pytest.mark.parametrize("status", ["True", "False"])
def test_a_guest_is_paused_while_its_condition_says_so(status: str) -> None:
    vmi = {"metadata": {"uid": "i1"}, "status": {"conditions": [{"type": "Paused", "status": status}]}}
    assert instance_of(vmi).paused is (status == "True")


def test_an_end_that_nobody_could_be_told_of_is_told_later_with_its_own_times() -> None:
    there = {"binding": Binding(chassis="ch2"), "reports": HEARD}
    first = decide(facts(options=options(HandoffState.COMMITTING), **there))
    assert first.ended is not None
    waiting = unreported(first.options, first.ended)
    assert (waiting.ended, waiting.options.requested) == (None, ("ch2",))
    again = decide(facts(options=waiting.options, **there, now=NOW + timedelta(hours=1)))
    assert again.ended == first.ended


NEXT = LauncherPod(name="next", node="node3", migration="m2")


@pytest.mark.parametrize("state", list(HandoffState))
@pytest.mark.parametrize("node", ["node1", "node3"])
def test_a_guest_that_went_on_while_nobody_led_is_followed(state: HandoffState, node: str) -> None:
    pods = (replace(SOURCE, terminal=True), replace(TARGET, terminal=True))
    there = LauncherPod(name="next", node=node, migration="m2")
    held = replace(options(state), journal={**options(state).journal, "pod": SOURCE.name})
    decision = decide(facts(options=held, instance=replace(RUNNING, node=node), pods=(*pods, there)))
    assert decision.options == ChassisOptions(requested=(f"ch{node[-1]}",))
    assert decision.ended is not None
    assert decision.ended.journal.reason.startswith("a later migration")


@pytest.mark.parametrize("state", list(HandoffState))
@pytest.mark.parametrize(
    "given",
    [
        pytest.param(
            {"instance": replace(RUNNING, node="node3"), "pods": (NEXT,)},
            id="of the handoff's two pods nothing is left",
        ),
        pytest.param(
            {"instance": replace(RUNNING, state=replace(READY, uid="m2")), "pods": (SOURCE, TARGET, NEXT)},
            id="the next migration says that it runs there, though the target's pod lives",
        ),
        pytest.param(
            {"instance": replace(RUNNING, state=replace(LEFT, uid="m2")), "pods": (SOURCE, TARGET, NEXT)},
            id="the next migration has taken it from its node for good, though that has its pod yet",
        ),
    ],
)
def test_a_guest_that_certainly_went_on_is_followed(state: HandoffState, given: dict[str, object]) -> None:
    held = replace(options(state), journal={**options(state).journal, "pod": SOURCE.name})
    decision = decide(facts(options=held, **given))
    assert decision.options == ChassisOptions(requested=("ch3",))
    assert decision.ended is not None


@pytest.mark.parametrize("state", list(HandoffState))
def test_a_guest_that_a_later_post_copy_took_back_is_followed(state: HandoffState) -> None:
    """To the node that it came from, into another pod, before this handoff has ended."""
    held = replace(options(state), journal={**options(state).journal, "pod": SOURCE.name})
    back = LauncherPod(name="back", node="node1", migration="m2")
    instance = replace(RUNNING, node="node2", state=replace(LEFT, uid="m2"))
    decision = decide(facts(options=held, instance=instance, pods=(TARGET, back)))
    assert decision.options == ChassisOptions(requested=("ch1",))
    assert decision.ended is not None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(
            {"instance": replace(RUNNING, state=READY)}, HandoffState.RELEASING, id="it is where it was to go"
        ),
        pytest.param({"pods": (SOURCE,)}, HandoffState.ROLLING_BACK, id="it is where it was"),
        pytest.param(
            {"pods": (replace(SOURCE, terminal=True), TARGET)}, HandoffState.ARMED, id="nobody knows where it is"
        ),
    ],
)
def test_a_guest_that_did_not_go_on_has_its_handoff(given: dict[str, object], expected: HandoffState) -> None:
    held = replace(options(HandoffState.ARMED), journal={**options(HandoffState.ARMED).journal, "pod": SOURCE.name})
    decision = decide(facts(options=held, binding=BOTH, **given))
    assert decision.ended is None
    assert decision.options.journal["state"] == expected


@pytest.mark.parametrize("state", list(HandoffState))
@pytest.mark.parametrize(
    ("instance", "requested"),
    [
        pytest.param(None, (), id="VMI gone"),
        pytest.param(Instance(uid="i1", node="node1", phase="Failed"), (), id="VMI failed"),
        pytest.param(Instance(uid="i2", node="", phase="Scheduling"), ("ch3",), id="another VMI of the same name"),
    ],
)
def test_the_end_of_the_instance_ends_every_handoff(
    state: HandoffState, instance: Instance | None, requested: tuple[str, ...]
) -> None:
    pods = (LauncherPod(name="new", node="node3"),) if requested else (replace(SOURCE, terminal=True),)
    decision = decide(facts(options=options(state), instance=instance, pods=pods))
    assert decision.options == ChassisOptions(requested=requested)
    assert decision.ended is not None
    assert decision.ended.outcome is HandoffOutcome.ABANDONED


def test_one_that_is_rolled_back_says_why_to_its_end() -> None:
    back = decide(facts(options=options(HandoffState.ARMED), binding=BOTH, pods=(SOURCE,)))
    assert "because the target pod is gone" in back.wait
    waiting = decide(facts(options=back.options, binding=BOTH, pods=(SOURCE,)))
    assert waiting.wait == back.wait
    ended = decide(facts(options=waiting.options, binding=BOUND, pods=(SOURCE,))).ended
    assert ended is not None
    assert ended.journal.reason == "the target pod is gone"

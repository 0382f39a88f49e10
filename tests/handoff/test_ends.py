"""When a handoff is over, and how."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.handoff.case import BOTH, BOUND, HEARD, LEFT, NOW, READY, RUNNING, SOURCE, TARGET, facts, options
from virtnet.handoff.facts import Binding, Instance, LauncherPod, Told
from virtnet.handoff.journal import State
from virtnet.handoff.machine import (
    SETTLE_TIMEOUT,
    SILENT_AFTER,
    UNASKED_AFTER,
    UNCOUNTED_AFTER,
    Outcome,
    decide,
    unreported,
)
from virtnet.handoff.options import ChassisOptions


@pytest.mark.parametrize(
    ("state", "chassis", "outcome"),
    [
        pytest.param(State.COMMITTING, "ch2", Outcome.COMMITTED, id="committed"),
        pytest.param(State.ROLLING_BACK, "ch1", Outcome.ROLLED_BACK, id="rolled back"),
    ],
)
def test_ends_when_ovn_has_followed(state: State, chassis: str, outcome: Outcome) -> None:
    decision = decide(facts(options=options(state), binding=Binding(chassis=chassis), told=HEARD))
    assert decision.ended is not None
    assert decision.ended.outcome is outcome
    assert decision.options == ChassisOptions(requested=(chassis,))


@pytest.mark.parametrize("state", [State.COMMITTING, State.ROLLING_BACK])
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
def test_does_not_end_before_ovn_has_followed(state: State, changes: dict[str, object]) -> None:
    chassis = "ch2" if state is State.COMMITTING else "ch1"
    done = Binding(chassis=chassis)
    assert decide(facts(options=options(state), binding=done, told=HEARD)).ended is not None
    assert decide(facts(options=options(state), binding=replace(done, **changes), told=HEARD)).ended is None


@pytest.mark.parametrize(
    ("state", "chassis", "outcome"),
    [
        pytest.param(State.COMMITTING, "ch2", Outcome.COMMITTED, id="committed"),
        pytest.param(State.ROLLING_BACK, "ch1", Outcome.ROLLED_BACK, id="rolled back"),
    ],
)
def test_a_dead_chassis_that_never_leaves_is_not_waited_for_for_ever(
    state: State, chassis: str, outcome: Outcome
) -> None:
    stuck = {"binding": Binding(chassis=chassis, additional=frozenset({"ch3"})), "told": HEARD}
    assert decide(facts(options=options(state), **stuck)).ended is None
    late = decide(facts(options=options(state), **stuck, now=NOW + SETTLE_TIMEOUT))
    assert late.ended is not None
    assert late.ended.outcome is outcome


@pytest.mark.parametrize("state", [State.COMMITTING, State.ROLLING_BACK])
def test_a_flag_that_came_late_is_taken_off_once_ovn_has_followed(state: State) -> None:
    chassis = "ch2" if state is State.COMMITTING else "ch1"
    flagged = Binding(chassis=chassis, activated=frozenset({"ch2"}))
    assert decide(facts(options=options(state), binding=flagged)).evict == {"ch2"}
    early = replace(flagged, requested_additional=frozenset({"ch2"}))
    assert decide(facts(options=options(state), binding=early)).evict == frozenset()
    unwritten = replace(options(state), requested=("ch1", "ch2"))
    assert decide(facts(options=unwritten, binding=flagged)).evict == frozenset()


OPENED = Told(opened=NOW, asked=NOW, answered=NOW)


@pytest.mark.parametrize(
    ("told", "changes", "waits_for", "most"),
    [
        pytest.param(None, {}, "node2 to ask the guest", UNASKED_AFTER, id="nobody has asked it yet"),
        pytest.param(Told(asked=NOW), {}, "the guest to answer", SILENT_AFTER, id="it is asked"),
        pytest.param(OPENED, {}, "node1 to count", UNCOUNTED_AFTER, id="what was sent on is not known yet"),
        pytest.param(replace(OPENED, carried=0), {}, "", None, id="nothing had to be sent on"),
        pytest.param(replace(OPENED, undrained="no tap"), {}, "", None, id="nothing could be sent on"),
        pytest.param(OPENED, {"gateless": "an old kernel"}, "", None, id="without a gate nothing is sent on"),
        pytest.param(replace(OPENED, opened=None), {}, "", None, id="the gate was opened by others: no drain"),
    ],
)
def test_a_port_that_has_arrived_waits_a_while_for_what_there_is_to_tell(
    told: Told | None, changes: dict[str, str], waits_for: str, most: timedelta | None
) -> None:
    given = {"binding": Binding(chassis="ch2"), "told": {"m1": told} if told else {}}
    first = decide(facts(options=options(State.COMMITTING, **changes), **given))
    assert first.options.requested == ("ch2",)
    if most is None:
        assert first.ended is not None
        return
    assert first.ended is None
    assert waits_for in first.wait
    assert first.again == most
    later = NOW + most - timedelta(milliseconds=1)
    still = decide(facts(options=first.options, **given, now=later))
    assert (still.ended, still.options, still.again) == (None, first.options, timedelta(milliseconds=1))
    last = decide(facts(options=first.options, **given, now=NOW + most)).ended
    assert last is not None
    assert (last.outcome, last.told, last.journal.settled) == (Outcome.COMMITTED, told or Told(), NOW)
    told_all = {"m1": replace(OPENED, carried=1)}
    heard = decide(facts(options=first.options, binding=Binding(chassis="ch2"), told=told_all, now=later)).ended
    assert heard is not None
    assert (heard.told, heard.journal.settled) == (told_all["m1"], NOW)


def test_an_end_that_nobody_could_be_told_of_is_told_later_with_its_own_times() -> None:
    there = {"binding": Binding(chassis="ch2"), "told": HEARD}
    first = decide(facts(options=options(State.COMMITTING), **there))
    assert first.ended is not None
    waiting = unreported(first.options, first.ended)
    assert (waiting.ended, waiting.options.requested) == (None, ("ch2",))
    again = decide(facts(options=waiting.options, **there, now=NOW + timedelta(hours=1)))
    assert again.ended == first.ended


NEXT = LauncherPod(name="next", node="node3", migration="m2")


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("node", ["node1", "node3"])
def test_a_guest_that_went_on_while_nobody_led_is_followed(state: State, node: str) -> None:
    pods = (replace(SOURCE, terminal=True), replace(TARGET, terminal=True))
    there = LauncherPod(name="next", node=node, migration="m2")
    held = replace(options(state), journal={**options(state).journal, "pod": SOURCE.name})
    decision = decide(facts(options=held, instance=replace(RUNNING, node=node), pods=(*pods, there)))
    assert decision.options == ChassisOptions(requested=(f"ch{node[-1]}",))
    assert decision.ended is not None
    assert decision.ended.journal.reason.startswith("a later migration")


@pytest.mark.parametrize("state", list(State))
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
def test_a_guest_that_certainly_went_on_is_followed(state: State, given: dict[str, object]) -> None:
    held = replace(options(state), journal={**options(state).journal, "pod": SOURCE.name})
    decision = decide(facts(options=held, **given))
    assert decision.options == ChassisOptions(requested=("ch3",))
    assert decision.ended is not None


@pytest.mark.parametrize("state", list(State))
def test_a_guest_that_a_later_post_copy_took_back_is_followed(state: State) -> None:
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
        pytest.param({"instance": replace(RUNNING, state=READY)}, State.RELEASING, id="it is where it was to go"),
        pytest.param({"pods": (SOURCE,)}, State.ROLLING_BACK, id="it is where it was"),
        pytest.param({"pods": (replace(SOURCE, terminal=True), TARGET)}, State.ARMED, id="nobody knows where it is"),
    ],
)
def test_a_guest_that_did_not_go_on_has_its_handoff(given: dict[str, object], expected: State) -> None:
    held = replace(options(State.ARMED), journal={**options(State.ARMED).journal, "pod": SOURCE.name})
    decision = decide(facts(options=held, binding=BOTH, **given))
    assert decision.ended is None
    assert decision.options.journal["state"] == expected


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize(
    ("instance", "requested"),
    [
        pytest.param(None, (), id="VMI gone"),
        pytest.param(Instance(uid="i1", node="node1", phase="Failed"), (), id="VMI failed"),
        pytest.param(Instance(uid="i2", node="", phase="Scheduling"), ("ch3",), id="another VMI of the same name"),
    ],
)
def test_the_end_of_the_instance_ends_every_handoff(
    state: State, instance: Instance | None, requested: tuple[str, ...]
) -> None:
    pods = (LauncherPod(name="new", node="node3"),) if requested else (replace(SOURCE, terminal=True),)
    decision = decide(facts(options=options(state), instance=instance, pods=pods))
    assert decision.options == ChassisOptions(requested=requested)
    assert decision.ended is not None
    assert decision.ended.outcome is Outcome.ABANDONED


def test_one_that_is_rolled_back_says_why_to_its_end() -> None:
    back = decide(facts(options=options(State.ARMED), binding=BOTH, pods=(SOURCE,)))
    assert "because the target pod is gone" in back.wait
    waiting = decide(facts(options=back.options, binding=BOTH, pods=(SOURCE,)))
    assert waiting.wait == back.wait
    ended = decide(facts(options=waiting.options, binding=BOUND, pods=(SOURCE,))).ended
    assert ended is not None
    assert ended.journal.reason == "the target pod is gone"

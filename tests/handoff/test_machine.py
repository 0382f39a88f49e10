"""The decision table of a handoff: every state beside every fact that matters in it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from virtnet.handoff.facts import Binding, Facts, Instance, LauncherPod, Migration, MigrationState, Told
from virtnet.handoff.journal import Journal, State
from virtnet.handoff.machine import (
    RELEASE_TIMEOUT,
    SETTLE_TIMEOUT,
    SILENT_AFTER,
    UNASKED_AFTER,
    UNCOUNTED_AFTER,
    Outcome,
    decide,
)
from virtnet.handoff.options import ChassisOptions

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHASSIS = {"node1": "ch1", "node2": "ch2", "node3": "ch3"}
SOURCE = LauncherPod(name="src", node="node1")
TARGET = LauncherPod(name="dst", node="node2", migration="m1")
RUNNING = Instance(uid="i1", node="node1", phase="Running")
SINGLE = ChassisOptions(requested=("ch1",))
BOUND = Binding(chassis="ch1", up=True)
BOTH = Binding(chassis="ch1", additional=frozenset({"ch2"}), requested_additional=frozenset({"ch2"}), up=True)
READY = MigrationState(uid="m1", domain_ready=True)
FAILED = MigrationState(uid="m1", failed=True)
LEFT = MigrationState(uid="m1", post_copy=True)
RUNS = Migration(uid="m1", phase="Running")
OVER = Migration(uid="m1", phase="Succeeded")
HEARD = {"m1": Told(asked=NOW, answered=NOW)}


def journal(state: State, **changes: object) -> Journal:
    base = Journal(
        instance="i1",
        migration="m1",
        source="node1",
        target="node2",
        source_chassis="ch1",
        target_chassis="ch2",
        state=state,
        since=NOW,
        armed=NOW,
        bound=NOW,
    )
    return replace(base, **changes)


def options(state: State, **changes: object) -> ChassisOptions:
    entries = journal(state, strategy="rarp", **changes).entries()
    match state:
        case State.COMMITTING:
            return ChassisOptions(requested=("ch2",), journal=entries)
        case State.ROLLING_BACK:
            return ChassisOptions(requested=("ch1",), journal=entries)
        case _:
            return ChassisOptions(requested=("ch1", "ch2"), strategy="rarp", journal=entries)


def facts(**changes: object) -> Facts:
    base = Facts(
        instance=RUNNING,
        pods=(SOURCE, TARGET),
        migrations=(Migration(uid="m1", phase="Scheduling"),),
        binding=BOUND,
        options=SINGLE,
        chassis=CHASSIS,
        now=NOW,
    )
    return replace(base, **changes)


@pytest.mark.parametrize(
    ("given", "requested"),
    [
        pytest.param({"instance": None, "pods": ()}, (), id="stopped VM: any chassis may bind"),
        pytest.param({"instance": None, "pods": (LauncherPod(name="p", node="node3"),)}, ("ch3",), id="ordinary pod"),
        pytest.param(
            {"instance": replace(RUNNING, node=""), "pods": (SOURCE,), "migrations": ()}, ("ch1",), id="starting"
        ),
        pytest.param({"instance": replace(RUNNING, node=""), "pods": (LauncherPod(name="p"),)}, (), id="unscheduled"),
        pytest.param({"pods": (SOURCE,)}, ("ch1",), id="running"),
        pytest.param({"pods": (replace(SOURCE, terminal=True),)}, (), id="its only pod has ended"),
        pytest.param(
            {"pods": (replace(SOURCE, node="node9"),), "instance": replace(RUNNING, node="node9")},
            ("ch1",),
            id="node unknown: what stands stays",
        ),
        pytest.param(
            {
                "instance": replace(RUNNING, node="node2"),
                "pods": (replace(SOURCE, terminal=True), TARGET),
                "migrations": (),
            },
            ("ch2",),
            id="former target is home now, whatever its labels say",
        ),
        pytest.param(
            {"instance": replace(RUNNING, state=READY), "migrations": (Migration(uid="m1", phase="Running"),)},
            ("ch2",),
            id="the guest has arrived, nodeName has not",
        ),
        pytest.param(
            {"instance": replace(RUNNING, state=READY), "pods": (SOURCE, replace(TARGET, terminal=True))},
            ("ch1",),
            id="the guest had arrived in a pod that is gone",
        ),
        pytest.param(
            {"pods": (TARGET, SOURCE), "migrations": (Migration(uid="m1", phase="Failed"),)},
            ("ch1",),
            id="the target of a migration that failed still runs",
        ),
        pytest.param(
            {
                "instance": replace(RUNNING, node=""),
                "pods": (replace(TARGET, deleting=True), SOURCE),
                "migrations": (RUNS,),
            },
            ("ch1",),
            id="nodeName is not known yet, and a migration has had its target already",
        ),
        pytest.param(
            {"instance": replace(RUNNING, node=""), "pods": (TARGET,), "migrations": (OVER,)},
            ("ch2",),
            id="starting, in what was the target of a migration",
        ),
    ],
)
def test_without_a_migration_the_port_is_where_the_guest_is(
    given: dict[str, object], requested: tuple[str, ...]
) -> None:
    decision = decide(facts(**{"migrations": (), **given}))
    assert decision.options == ChassisOptions(requested=requested)
    assert decision.ended is None


def test_arms_as_soon_as_the_target_pod_has_a_node() -> None:
    decision = decide(facts(migrations=(Migration(uid="m1", phase="Pending"),)))
    assert decision.options.requested == ("ch1", "ch2")
    assert decision.options.strategy == ""
    assert "bind the port on node2" in decision.wait
    written = Journal.read(decision.options.journal)
    assert written is not None
    assert (written.state, written.source, written.pod, written.target) == (State.ARMED, "node1", "src", "node2")


def test_a_target_without_a_gate_is_armed_with_the_strategy_that_every_ovn_knows() -> None:
    decision = decide(facts(gateless={"node2": "an old kernel"}))
    assert decision.options.strategy == "rarp"
    written = Journal.read(decision.options.journal)
    assert written is not None
    assert (written.gateless, written.strategy) == ("an old kernel", "rarp")
    repaired = decide(facts(binding=BOTH, options=replace(decision.options, strategy="")))
    assert repaired.options.strategy == "rarp", "somebody has taken it away"


def test_a_target_without_a_gate_is_armed_with_the_strongest_strategy_of_its_ovn() -> None:
    given = {"gateless": {"node2": "an old kernel"}, "strategies": {"node1": "rarp", "node2": "rarp,garp,na"}}
    assert decide(facts(**given)).options.strategy == "rarp,garp,na"
    assert decide(facts(**{**given, "gateless": {}})).options.strategy == ""


def test_a_guest_that_left_for_good_is_where_it_went_should_the_database_be_lost_then() -> None:
    lost = {"options": ChassisOptions(), "binding": Binding(), "instance": replace(RUNNING, state=LEFT)}
    assert decide(facts(**lost)).options == ChassisOptions(requested=("ch2",))


def test_a_source_without_a_gate_does_not_matter() -> None:
    assert decide(facts(gateless={"node1": "an old kernel"})).options.strategy == ""


def test_what_the_nodes_tell_on_the_way_is_not_written_to_ovn() -> None:
    """Each write makes northd compute, while the one that matters waits."""
    armed = ChassisOptions(requested=("ch1", "ch2"), journal=journal(State.ARMED).entries())
    told = Told(opened=NOW, asked=NOW, answered=NOW, carried=14)
    assert decide(facts(options=armed, binding=BOTH, told={"m1": told})).options == armed


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"pods": (SOURCE, replace(TARGET, node=""))}, id="target unscheduled"),
        pytest.param({"pods": (SOURCE, replace(TARGET, terminal=True))}, id="target ended"),
        pytest.param({"pods": (SOURCE, replace(TARGET, deleting=True))}, id="target being deleted"),
        pytest.param({"pods": (SOURCE, replace(TARGET, node="node1"))}, id="target where the guest is"),
        pytest.param({"migrations": (Migration(uid="m1", phase="Failed"),)}, id="migration failed"),
        pytest.param({"migrations": (Migration(uid="m2", phase="Pending"),)}, id="label of an earlier migration"),
        pytest.param({"migrations": ()}, id="no migration"),
        pytest.param({"instance": replace(RUNNING, state=FAILED)}, id="failed, and the VMIM does not know yet"),
        pytest.param({"binding": replace(BOUND, activated=frozenset({"ch2"}))}, id="flag of the previous handoff left"),
        pytest.param(
            {"binding": replace(BOUND, requested_additional=frozenset({"ch3"}))}, id="previous target not left"
        ),
        pytest.param({"options": ChassisOptions()}, id="source not written yet"),
        pytest.param({"instance": None}, id="the instance has not been heard of yet"),
        pytest.param({"instance": replace(RUNNING, phase="Failed")}, id="the instance has ended"),
        pytest.param({"chassis": {"node1": "ch1"}}, id="target has no chassis"),
    ],
)
def test_does_not_arm(given: dict[str, object]) -> None:
    assert decide(facts(**given)).options == SINGLE


@pytest.mark.parametrize(
    ("state", "given", "expected", "requested"),
    [
        pytest.param(State.ARMED, {"binding": BOTH}, State.ARMED, ("ch1", "ch2"), id="armed: waits for the guest"),
        pytest.param(
            State.ARMED,
            {"binding": BOTH, "migrations": ()},
            State.ARMED,
            ("ch1", "ch2"),
            id="armed: a missing VMIM decides nothing",
        ),
        pytest.param(
            State.ARMED,
            {
                "binding": BOTH,
                "instance": replace(RUNNING, state=MigrationState(uid="m0", domain_ready=True, failed=True)),
            },
            State.ARMED,
            ("ch1", "ch2"),
            id="armed: the last migration's state means nothing",
        ),
        pytest.param(
            State.ARMED,
            {"binding": BOTH, "instance": replace(RUNNING, state=READY)},
            State.RELEASING,
            ("ch1", "ch2"),
            id="armed: ready",
        ),
        pytest.param(
            State.ARMED,
            {"binding": BOTH, "instance": replace(RUNNING, node="node2")},
            State.RELEASING,
            ("ch1", "ch2"),
            id="armed: moved",
        ),
        pytest.param(
            State.ARMED,
            {"binding": BOTH, "instance": replace(RUNNING, state=replace(READY, failed=True))},
            State.RELEASING,
            ("ch1", "ch2"),
            id="armed: failed after the guest ran there: never back",
        ),
        pytest.param(
            State.ARMED, {"instance": replace(RUNNING, state=FAILED)}, State.ROLLING_BACK, ("ch1",), id="armed: failed"
        ),
        pytest.param(
            State.ARMED,
            {"migrations": (Migration(uid="m1", phase="Failed"),)},
            State.ROLLING_BACK,
            ("ch1",),
            id="armed: VMIM failed",
        ),
        pytest.param(
            State.ARMED,
            {
                "binding": BOTH,
                "migrations": (Migration(uid="m1", phase="Failed"),),
                "instance": replace(RUNNING, state=MigrationState(uid="m1")),
            },
            State.ARMED,
            ("ch1", "ch2"),
            id="armed: VMIM failed, and the VMI that was handed off has yet to say so",
        ),
        pytest.param(
            State.ARMED,
            {"binding": BOTH, "instance": replace(RUNNING, state=LEFT)},
            State.ARMED,
            ("ch1", "ch2"),
            id="armed: post-copy, waits for the guest",
        ),
        pytest.param(
            State.ARMED,
            {"binding": BOTH, "instance": replace(RUNNING, state=replace(LEFT, failed=True)), "pods": (SOURCE,)},
            State.ARMED,
            ("ch1", "ch2"),
            id="armed: post-copy failed: the instance ends, not the handoff",
        ),
        pytest.param(
            State.ARMED,
            {
                "binding": BOTH,
                "pods": (SOURCE, replace(TARGET, terminal=True), replace(TARGET, name="later", migration="m2")),
                "migrations": (Migration(uid="m1", phase="Failed"), Migration(uid="m2", phase="Running")),
                "instance": replace(RUNNING, state=MigrationState(uid="m2", domain_ready=True)),
            },
            State.RELEASING,
            ("ch1", "ch2"),
            id="armed: a later migration has brought the guest there while nobody led",
        ),
        pytest.param(
            State.ROLLING_BACK,
            {"binding": BOUND, "instance": replace(RUNNING, state=READY)},
            State.COMMITTING,
            ("ch2",),
            id="rolling back: the guest runs there after all",
        ),
        pytest.param(
            State.ROLLING_BACK,
            {"binding": BOUND, "instance": replace(RUNNING, state=LEFT)},
            State.COMMITTING,
            ("ch2",),
            id="rolling back: the guest has left for good",
        ),
        pytest.param(State.ARMED, {"pods": (SOURCE,)}, State.ROLLING_BACK, ("ch1",), id="armed: target pod gone"),
        pytest.param(
            State.ARMED,
            {"pods": (SOURCE, replace(TARGET, terminal=True))},
            State.ROLLING_BACK,
            ("ch1",),
            id="armed: target pod ended",
        ),
        pytest.param(
            State.RELEASING, {"binding": BOTH}, State.RELEASING, ("ch1", "ch2"), id="releasing: source holds on"
        ),
        pytest.param(
            State.RELEASING,
            {"binding": replace(BOTH, chassis="")},
            State.COMMITTING,
            ("ch2",),
            id="releasing: source let go",
        ),
        pytest.param(
            State.RELEASING,
            {"binding": BOTH, "now": NOW + RELEASE_TIMEOUT},
            State.COMMITTING,
            ("ch2",),
            id="releasing: source is dead",
        ),
        pytest.param(
            State.ARMED,
            {"instance": replace(RUNNING, node="node2"), "pods": (SOURCE,), "binding": BOTH},
            State.RELEASING,
            ("ch1", "ch2"),
            id="armed: nodeName has moved, the pod there has not been heard of",
        ),
        pytest.param(
            State.ARMED,
            {"instance": replace(RUNNING, state=READY), "pods": (SOURCE,), "binding": BOTH},
            State.RELEASING,
            ("ch1", "ch2"),
            id="armed: the guest has arrived, the pod there has not been heard of",
        ),
        pytest.param(
            State.ARMED,
            {
                "instance": replace(RUNNING, state=MigrationState(uid="m2", post_copy=True)),
                "pods": (SOURCE, replace(TARGET, name="dst2", migration="m2")),
                "migrations": (replace(RUNS, phase="Failed"), replace(RUNS, uid="m2")),
                "binding": BOTH,
            },
            State.ARMED,
            ("ch1", "ch2"),
            id="armed: another migration takes it to the same node in post-copy",
        ),
        pytest.param(
            State.ARMED,
            {"pods": (SOURCE, replace(TARGET, deleting=True)), "migrations": (RUNS,), "binding": BOTH},
            State.ARMED,
            ("ch1", "ch2"),
            id="armed: the target pod is being deleted, and KubeVirt has yet to say what of it",
        ),
        pytest.param(State.COMMITTING, {"binding": BOTH}, State.COMMITTING, ("ch2",), id="committing: OVN follows"),
        pytest.param(
            State.ROLLING_BACK, {"binding": BOTH}, State.ROLLING_BACK, ("ch1",), id="rolling back: OVN follows"
        ),
    ],
)
def test_steps(state: State, given: dict[str, object], expected: State, requested: tuple[str, ...]) -> None:
    decision = decide(facts(options=options(state), **given))
    written = Journal.read(decision.options.journal)
    assert written is not None
    assert (written.state, decision.options.requested, decision.ended) == (expected, requested, None)
    assert decision.wait


def test_an_unannounced_guest_is_let_in_when_it_is_known_to_run() -> None:
    ready = replace(RUNNING, state=READY)
    assert decide(facts(options=options(State.ARMED), binding=BOTH, instance=ready)).options.strategy == ""
    announced = replace(BOTH, activated=frozenset({"ch2"}))
    assert decide(facts(options=options(State.ARMED), binding=announced, instance=ready)).options.strategy == "rarp"


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


NEXT = LauncherPod(name="next", node="node3", migration="m2")


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
    ],
)
def test_a_guest_that_certainly_went_on_is_followed(state: State, given: dict[str, object]) -> None:
    held = replace(options(state), journal={**options(state).journal, "pod": SOURCE.name})
    decision = decide(facts(options=held, **given))
    assert decision.options == ChassisOptions(requested=("ch3",))
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


@pytest.mark.parametrize("state", [State.RELEASING, State.COMMITTING, State.ROLLING_BACK])
def test_what_others_than_the_guest_are_waited_for_may_not_take_long(state: State) -> None:
    decision = decide(facts(options=options(state), binding=BOTH))
    assert decision.wait
    assert not decision.patient


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


def test_a_dead_chassis_does_not_keep_the_next_migration_from_arming() -> None:
    stuck = replace(BOUND, additional=frozenset({"ch3"}))
    assert decide(facts(binding=stuck)).options.requested == ("ch1", "ch2")


def test_a_chassis_that_has_the_port_for_no_reason_is_taken_off_it_once_nothing_is_under_way() -> None:
    stuck = replace(BOUND, additional=frozenset({"ch3"}))
    alone = {"pods": (SOURCE,), "migrations": ()}
    assert decide(facts(binding=stuck, **alone)).evict == {"ch3"}
    assert decide(facts(binding=stuck)).evict == frozenset()
    assert decide(facts(binding=replace(stuck, requested_additional=frozenset({"ch3"})), **alone)).evict == frozenset()
    assert decide(facts(binding=stuck, options=ChassisOptions(), **alone)).evict == frozenset()


def test_one_that_is_rolled_back_says_why_to_its_end() -> None:
    back = decide(facts(options=options(State.ARMED), binding=BOTH, pods=(SOURCE,)))
    assert "because the target pod is gone" in back.wait
    waiting = decide(facts(options=back.options, binding=BOTH, pods=(SOURCE,)))
    assert waiting.wait == back.wait
    ended = decide(facts(options=waiting.options, binding=BOUND, pods=(SOURCE,))).ended
    assert ended is not None
    assert ended.journal.reason == "the target pod is gone"


def test_an_abort_before_the_hand_off_ends_it_though_the_target_pod_hangs() -> None:
    hanging = replace(TARGET, deleting=True)
    decision = decide(facts(options=options(State.ARMED), binding=BOTH, migrations=(), pods=(SOURCE, hanging)))
    assert decision.options.requested == ("ch1",)


def test_a_node_that_lost_its_chassis_name_keeps_what_stands() -> None:
    assert decide(facts(chassis={}, pods=(SOURCE,), migrations=())).options == SINGLE


@pytest.mark.parametrize(
    ("state", "given", "release", "again", "wait"),
    [
        pytest.param(State.ARMED, {}, "", None, "the guest to run on node2", id="armed"),
        pytest.param(State.RELEASING, {}, "node1", RELEASE_TIMEOUT, "node1 to let go", id="releasing"),
        pytest.param(
            State.RELEASING,
            {"binding": replace(BOTH, chassis="")},
            "node1",
            None,
            "OVN to bind the port on node2 alone",
            id="released",
        ),
        pytest.param(
            State.COMMITTING, {}, "node1", SETTLE_TIMEOUT, "OVN to bind the port on node2 alone", id="committing"
        ),
        pytest.param(
            State.COMMITTING,
            {"binding": Binding(chassis="ch2")},
            "node1",
            UNASKED_AFTER,
            "node2 to ask the guest",
            id="settled: the source must not take it back",
        ),
        pytest.param(State.ROLLING_BACK, {}, "", SETTLE_TIMEOUT, "OVN to leave node2", id="rolling back"),
    ],
)
def test_release_is_asked_of_the_source_only_once_the_guest_has_left_it(
    state: State, given: dict[str, object], release: str, again: timedelta | None, wait: str
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
    decision = decide(facts(options=options(State.ARMED, bound=bound), **given))
    assert wait in decision.wait
    assert decision.patient is patient


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

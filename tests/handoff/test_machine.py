"""The decision table of a handoff: every state beside every fact that matters in it."""

from dataclasses import replace

import pytest

from tests.handoff.case import (
    BOTH,
    BOUND,
    FAILED,
    LEFT,
    NOW,
    READY,
    RUNNING,
    RUNS,
    SOURCE,
    TARGET,
    facts,
    options,
)
from virtnet.handoff.facts import Migration, MigrationState
from virtnet.handoff.journal import HandoffJournal, HandoffState
from virtnet.handoff.machine import RELEASE_TIMEOUT, decide


@pytest.mark.parametrize(
    ("state", "given", "expected", "requested"),
    [
        pytest.param(
            HandoffState.ARMED, {"binding": BOTH}, HandoffState.ARMED, ("ch1", "ch2"), id="armed: waits for the guest"
        ),
        pytest.param(
            HandoffState.ARMED,
            {"binding": BOTH, "migrations": ()},
            HandoffState.ARMED,
            ("ch1", "ch2"),
            id="armed: a missing VMIM decides nothing",
        ),
        pytest.param(
            HandoffState.ARMED,
            {
                "binding": BOTH,
                "instance": replace(RUNNING, state=MigrationState(uid="m0", domain_ready=True, failed=True)),
            },
            HandoffState.ARMED,
            ("ch1", "ch2"),
            id="armed: the last migration's state means nothing",
        ),
        pytest.param(
            HandoffState.ARMED,
            {"binding": BOTH, "instance": replace(RUNNING, state=READY)},
            HandoffState.RELEASING,
            ("ch1", "ch2"),
            id="armed: ready",
        ),
        pytest.param(
            HandoffState.ARMED,
            {"binding": BOTH, "instance": replace(RUNNING, node="node2")},
            HandoffState.RELEASING,
            ("ch1", "ch2"),
            id="armed: moved",
        ),
        pytest.param(
            HandoffState.ARMED,
            {"binding": BOTH, "instance": replace(RUNNING, state=replace(READY, failed=True))},
            HandoffState.RELEASING,
            ("ch1", "ch2"),
            id="armed: failed after the guest ran there: never back",
        ),
        pytest.param(
            HandoffState.ARMED,
            {"instance": replace(RUNNING, state=FAILED)},
            HandoffState.ROLLING_BACK,
            ("ch1",),
            id="armed: failed",
        ),
        pytest.param(
            HandoffState.ARMED,
            {"migrations": (Migration(uid="m1", phase="Failed"),)},
            HandoffState.ROLLING_BACK,
            ("ch1",),
            id="armed: VMIM failed",
        ),
        pytest.param(
            HandoffState.ARMED,
            {
                "binding": BOTH,
                "migrations": (Migration(uid="m1", phase="Failed"),),
                "instance": replace(RUNNING, state=MigrationState(uid="m1")),
            },
            HandoffState.ARMED,
            ("ch1", "ch2"),
            id="armed: VMIM failed, and the VMI that was handed off has yet to say so",
        ),
        pytest.param(
            HandoffState.ARMED,
            {"binding": BOTH, "instance": replace(RUNNING, state=LEFT)},
            HandoffState.ARMED,
            ("ch1", "ch2"),
            id="armed: post-copy, waits for the guest",
        ),
        pytest.param(
            HandoffState.ARMED,
            {"binding": BOTH, "instance": replace(RUNNING, state=replace(LEFT, failed=True)), "pods": (SOURCE,)},
            HandoffState.ARMED,
            ("ch1", "ch2"),
            id="armed: post-copy failed: the instance ends, not the handoff",
        ),
        pytest.param(
            HandoffState.ARMED,
            {
                "binding": BOTH,
                "pods": (SOURCE, replace(TARGET, terminal=True), replace(TARGET, name="later", migration="m2")),
                "migrations": (Migration(uid="m1", phase="Failed"), Migration(uid="m2", phase="Running")),
                "instance": replace(RUNNING, state=MigrationState(uid="m2", domain_ready=True)),
            },
            HandoffState.RELEASING,
            ("ch1", "ch2"),
            id="armed: a later migration has brought the guest there while nobody led",
        ),
        pytest.param(
            HandoffState.ROLLING_BACK,
            {"binding": BOUND, "instance": replace(RUNNING, state=READY)},
            HandoffState.COMMITTING,
            ("ch2",),
            id="rolling back: the guest runs there after all",
        ),
        pytest.param(
            HandoffState.ROLLING_BACK,
            {"binding": BOUND, "instance": replace(RUNNING, state=LEFT)},
            HandoffState.COMMITTING,
            ("ch2",),
            id="rolling back: the guest has left for good",
        ),
        pytest.param(
            HandoffState.ARMED, {"pods": (SOURCE,)}, HandoffState.ROLLING_BACK, ("ch1",), id="armed: target pod gone"
        ),
        pytest.param(
            HandoffState.ARMED,
            {"pods": (SOURCE, replace(TARGET, terminal=True))},
            HandoffState.ROLLING_BACK,
            ("ch1",),
            id="armed: target pod ended",
        ),
        pytest.param(
            HandoffState.RELEASING,
            {"binding": BOTH},
            HandoffState.RELEASING,
            ("ch1", "ch2"),
            id="releasing: source holds on",
        ),
        pytest.param(
            HandoffState.RELEASING,
            {"binding": replace(BOTH, chassis="")},
            HandoffState.COMMITTING,
            ("ch2",),
            id="releasing: source let go",
        ),
        pytest.param(
            HandoffState.RELEASING,
            {"binding": BOTH, "now": NOW + RELEASE_TIMEOUT},
            HandoffState.COMMITTING,
            ("ch2",),
            id="releasing: source is dead",
        ),
        pytest.param(
            HandoffState.ARMED,
            {"instance": replace(RUNNING, node="node2"), "pods": (SOURCE,), "binding": BOTH},
            HandoffState.RELEASING,
            ("ch1", "ch2"),
            id="armed: nodeName has moved, the pod there has not been heard of",
        ),
        pytest.param(
            HandoffState.ARMED,
            {"instance": replace(RUNNING, state=READY), "pods": (SOURCE,), "binding": BOTH},
            HandoffState.RELEASING,
            ("ch1", "ch2"),
            id="armed: the guest has arrived, the pod there has not been heard of",
        ),
        pytest.param(
            HandoffState.ARMED,
            {
                "instance": replace(RUNNING, state=MigrationState(uid="m2", post_copy=True)),
                "pods": (SOURCE, replace(TARGET, name="dst2", migration="m2")),
                "migrations": (replace(RUNS, phase="Failed"), replace(RUNS, uid="m2")),
                "binding": BOTH,
            },
            HandoffState.ARMED,
            ("ch1", "ch2"),
            id="armed: another migration takes it to the same node in post-copy",
        ),
        pytest.param(
            HandoffState.ARMED,
            {"pods": (SOURCE, replace(TARGET, deleting=True)), "migrations": (RUNS,), "binding": BOTH},
            HandoffState.ARMED,
            ("ch1", "ch2"),
            id="armed: the target pod is being deleted, and KubeVirt has yet to say what of it",
        ),
        pytest.param(
            HandoffState.COMMITTING, {"binding": BOTH}, HandoffState.COMMITTING, ("ch2",), id="committing: OVN follows"
        ),
        pytest.param(
            HandoffState.ROLLING_BACK,
            {"binding": BOTH},
            HandoffState.ROLLING_BACK,
            ("ch1",),
            id="rolling back: OVN follows",
        ),
    ],
)
def test_steps(
    state: HandoffState, given: dict[str, object], expected: HandoffState, requested: tuple[str, ...]
) -> None:
    decision = decide(facts(options=options(state), **given))
    written = HandoffJournal.read(decision.options.journal)
    assert written is not None
    assert (written.state, decision.options.requested, decision.ended) == (expected, requested, None)
    assert decision.wait


def test_an_unannounced_guest_is_let_in_when_it_is_known_to_run() -> None:
    ready = replace(RUNNING, state=READY)
    assert decide(facts(options=options(HandoffState.ARMED), binding=BOTH, instance=ready)).options.strategy == ""
    announced = replace(BOTH, activated=frozenset({"ch2"}))
    assert (
        decide(facts(options=options(HandoffState.ARMED), binding=announced, instance=ready)).options.strategy == "rarp"
    )


def test_an_abort_before_the_hand_off_ends_it_though_the_target_pod_hangs() -> None:
    hanging = replace(TARGET, deleting=True)
    decision = decide(facts(options=options(HandoffState.ARMED), binding=BOTH, migrations=(), pods=(SOURCE, hanging)))
    assert decision.options.requested == ("ch1",)


BROUGHT = {
    "instance": replace(RUNNING, state=replace(LEFT, uid="m0")),
    "pods": (replace(SOURCE, migration="m0"), TARGET),
}
"""An earlier migration, of which the instance tells until the next is handed off, brought the guest in post-copy."""


def test_a_guest_that_came_in_post_copy_is_not_taken_for_one_that_has_left() -> None:
    bound = facts(options=options(HandoffState.ARMED), binding=BOTH, **BROUGHT)
    assert (decide(bound).ended, decide(bound).options) == (None, options(HandoffState.ARMED))
    failed = replace(bound, migrations=(Migration(uid="m1", phase="Failed"),))
    assert decide(failed).options.requested == ("ch1",), "its handoff is rolled back"

"""A NIC that not both pods of a migration have: the port belongs to whoever has it, and nobody waits for the other."""

from dataclasses import replace
from typing import Any

import pytest

from tests.handoff.case import BOTH, BOUND, FAILED, LEFT, READY, RUNNING, SINGLE, SOURCE, TARGET, facts, options
from virtnet.handoff.facts import Binding, Migration, MigrationState
from virtnet.handoff.journal import HandoffState
from virtnet.handoff.machine import HandoffOutcome, decide
from virtnet.handoff.options import ChassisOptions

BARE_SOURCE, BARE_TARGET = replace(SOURCE, nic=False), replace(TARGET, nic=False)


@pytest.mark.parametrize(
    ("given", "requested"),
    [
        pytest.param({"pods": (SOURCE, BARE_TARGET)}, "ch1", id="source only: it stays"),
        pytest.param({"pods": (BARE_SOURCE, TARGET)}, "ch2", id="target only: it is the target's before the guest is"),
        pytest.param({"pods": (BARE_SOURCE, BARE_TARGET)}, "ch1", id="neither: where the guest is"),
        pytest.param({"pods": (TARGET,)}, "ch2", id="target only, and the source has no NIC of virtnet at all"),
        pytest.param(
            {"pods": (BARE_SOURCE, TARGET), "binding": Binding(chassis="ch2"), "options": ChassisOptions(("ch2",))},
            "ch2",
            id="target only: it has it already",
        ),
        pytest.param(
            {"pods": (SOURCE, BARE_TARGET), "instance": replace(RUNNING, state=READY)},
            "ch2",
            id="source only, and the guest has moved: where it is to be plugged in next",
        ),
        pytest.param(
            {"pods": (BARE_SOURCE, BARE_TARGET), "instance": replace(RUNNING, state=READY)},
            "ch2",
            id="neither, and the guest has moved",
        ),
        pytest.param(
            {"pods": (BARE_SOURCE, TARGET), "instance": replace(RUNNING, state=FAILED)},
            "ch1",
            id="target only, and the migration failed",
        ),
        pytest.param(
            {"pods": (BARE_SOURCE, replace(TARGET, terminal=True))}, "ch1", id="target only, and the target has ended"
        ),
        pytest.param(
            {"pods": (BARE_SOURCE, replace(TARGET, deleting=True))}, "ch1", id="target only, and the target is to go"
        ),
        pytest.param(
            {"pods": (BARE_SOURCE, TARGET), "instance": replace(RUNNING, state=LEFT)},
            "ch2",
            id="target only, in post-copy",
        ),
        pytest.param(
            {"pods": (SOURCE, BARE_TARGET), "instance": replace(RUNNING, state=LEFT)},
            "ch2",
            id="source only, in post-copy",
        ),
    ],
)
def test_nothing_is_handed_over(given: dict[str, Any], requested: str) -> None:
    decision = decide(facts(**given))
    assert decision.options == ChassisOptions(requested=(requested,))
    assert (decision.wait, decision.ended) == ("", None)


@pytest.mark.parametrize(
    ("given", "alone"),
    [
        pytest.param({"pods": (BARE_SOURCE, TARGET)}, True, id="target only"),
        pytest.param({"pods": (TARGET,)}, True, id="target only, and no pod of the source is known"),
        pytest.param({"pods": (SOURCE, TARGET)}, False, id="both: it is handed over"),
        pytest.param({"pods": (SOURCE, BARE_TARGET)}, False, id="source only"),
        pytest.param({"pods": (BARE_SOURCE, BARE_TARGET)}, False, id="neither"),
        pytest.param(
            {"pods": (BARE_SOURCE, TARGET), "instance": replace(RUNNING, state=FAILED)},
            False,
            id="the migration failed",
        ),
        pytest.param({"pods": (BARE_SOURCE, replace(TARGET, deleting=True))}, False, id="the target is to go"),
    ],
)
def test_a_target_that_alone_has_the_nic_may_claim_it(given: dict[str, Any], alone: bool) -> None:
    """Its CNI ADD waits for the word of the controller, as that of any migration's target does."""
    assert decide(facts(**given)).sole_target == (TARGET if alone else None)


def test_a_migration_after_one_that_brought_no_nic_brings_it() -> None:
    """The first one's target is the source now: asked for the NIC since, and never given it."""
    home = replace(BARE_TARGET, migration="m0")
    there = replace(SOURCE, name="later", migration="m1")
    moved = replace(RUNNING, node="node2", state=MigrationState(uid="m0", domain_ready=True))
    decision = decide(
        facts(
            pods=(replace(BARE_SOURCE, terminal=True), home, there),
            instance=moved,
            migrations=(Migration(uid="m0", phase="Succeeded"), Migration(uid="m1", phase="Scheduling")),
            options=ChassisOptions(requested=("ch2",)),
            binding=Binding(),
        )
    )
    assert decision.options == ChassisOptions(requested=("ch1",))


@pytest.mark.parametrize("state", HandoffState)
@pytest.mark.parametrize(
    ("pods", "instance", "requested"),
    [
        pytest.param((SOURCE, BARE_TARGET), RUNNING, "ch1", id="the target lacks it"),
        pytest.param((BARE_SOURCE, TARGET), RUNNING, "ch2", id="the source lacks it"),
        pytest.param((BARE_SOURCE, BARE_TARGET), RUNNING, "ch1", id="both lack it"),
        pytest.param((SOURCE, BARE_TARGET), replace(RUNNING, state=READY), "ch2", id="the target lacks it, and has the guest"),
        pytest.param((BARE_TARGET,), replace(RUNNING, node="node2"), "ch2", id="only a target without it is left"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("binding", [Binding(), BOUND, BOTH], ids=["unbound", "bound", "bound on both"])
def test_a_handoff_ends_where_an_end_of_it_has_the_nic_no_more(
    state: HandoffState, pods: Any, instance: Any, requested: str, binding: Binding
) -> None:
    decision = decide(facts(options=options(state, pod="src"), pods=pods, instance=instance, binding=binding))
    assert decision.ended is not None
    assert decision.ended.outcome is HandoffOutcome.ABANDONED
    assert "does not have this NIC" in decision.ended.journal.reason
    assert decision.options == ChassisOptions(requested=(requested,))


def test_a_nic_that_the_source_gets_in_time_is_handed_over() -> None:
    late = {"pods": (SOURCE, TARGET), "binding": Binding(chassis="ch2")}
    first = decide(facts(options=ChassisOptions(requested=("ch2",)), **late))
    assert first.options == SINGLE, "the guest comes first"
    assert decide(facts(options=first.options, pods=(SOURCE, TARGET))).options.requested == ("ch1", "ch2")

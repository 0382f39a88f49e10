"""Where a port is while nothing is under way, and when it is to be on two nodes."""

from dataclasses import replace

import pytest

from tests.handoff.case import (
    BOTH,
    BOUND,
    FAILED,
    LEFT,
    OVER,
    READY,
    RUNNING,
    RUNS,
    SINGLE,
    SOURCE,
    TARGET,
    facts,
)
from virtnet.handoff.facts import Binding, LauncherPod, Migration
from virtnet.handoff.journal import HandoffJournal, HandoffState
from virtnet.handoff.machine import decide
from virtnet.handoff.options import ChassisOptions


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
    written = HandoffJournal.read(decision.options.journal)
    assert written is not None
    assert (written.state, written.source, written.pod, written.target) == (HandoffState.ARMED, "node1", "src", "node2")


def test_a_target_without_a_gate_is_armed_with_the_strategy_that_every_ovn_knows() -> None:
    decision = decide(facts(fallback_reasons={"node2": "an old kernel"}))
    assert decision.options.strategy == "rarp"
    written = HandoffJournal.read(decision.options.journal)
    assert written is not None
    assert (written.fallback_reason, written.strategy) == ("an old kernel", "rarp")
    repaired = decide(facts(binding=BOTH, options=replace(decision.options, strategy="")))
    assert repaired.options.strategy == "rarp", "somebody has taken it away"


def test_a_target_without_a_gate_is_armed_with_the_strongest_strategy_of_its_ovn() -> None:
    given = {"fallback_reasons": {"node2": "an old kernel"}, "strategies": {"node1": "rarp", "node2": "rarp,garp,na"}}
    assert decide(facts(**given)).options.strategy == "rarp,garp,na"
    assert decide(facts(**{**given, "fallback_reasons": {}})).options.strategy == ""


def test_without_a_link_there_is_neither_gate_nor_strategy() -> None:
    given = {"fallback_reasons": {"node2": "an old kernel"}, "strategies": {"node2": "rarp,garp,na"}, "link": False}
    decision = decide(facts(**given))
    assert (decision.options.requested, decision.options.strategy) == (("ch1", "ch2"), "")
    written = HandoffJournal.read(decision.options.journal)
    assert written is not None
    assert (written.fallback_reason, written.strategy) == ("", "")


def test_a_source_without_a_gate_does_not_matter() -> None:
    assert decide(facts(fallback_reasons={"node1": "an old kernel"})).options.strategy == ""


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


def test_a_node_that_lost_its_chassis_name_keeps_what_stands() -> None:
    assert decide(facts(chassis={}, pods=(SOURCE,), migrations=())).options == SINGLE


def test_a_guest_that_left_for_good_is_where_it_went_should_the_database_be_lost_then() -> None:
    lost = {"options": ChassisOptions(), "binding": Binding(), "instance": replace(RUNNING, state=LEFT)}
    assert decide(facts(**lost)).options == ChassisOptions(requested=("ch2",))


def test_a_flag_that_is_left_does_not_keep_the_next_migration_from_arming_for_ever() -> None:
    flagged = replace(BOUND, activated=frozenset({"ch2"}))
    assert decide(facts(binding=flagged)).evict == {"ch2"}
    assert decide(facts(binding=flagged, pods=(SOURCE,), migrations=())).evict == {"ch2"}
    assert decide(facts(binding=flagged, options=ChassisOptions())).evict == frozenset()

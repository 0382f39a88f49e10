"""A port whose guest is on node1, and migrates to node2: what is known of it, and what OVN has been told."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from virtnet.handoff.facts import Binding, Facts, HandoffReport, Instance, LauncherPod, Migration, MigrationState
from virtnet.handoff.journal import HandoffJournal, HandoffState
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
HEARD = {"m1": HandoffReport(probed=NOW, answered=NOW)}


def journal(state: HandoffState, **changes: Any) -> HandoffJournal:
    base = HandoffJournal(
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


def options(state: HandoffState, **changes: Any) -> ChassisOptions:
    entries = journal(state, strategy="rarp", **changes).entries()
    match state:
        case HandoffState.COMMITTING:
            return ChassisOptions(requested=("ch2",), journal=entries)
        case HandoffState.ROLLING_BACK:
            return ChassisOptions(requested=("ch1",), journal=entries)
        case _:
            return ChassisOptions(requested=("ch1", "ch2"), strategy="rarp", journal=entries)


def facts(**changes: Any) -> Facts:
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

"""What a running VM cannot take as it is: the decisions are those that a real virt-controller was recorded with."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab.replay import Replay
from virtnet.lab.standin import automatic_migrations, hotplug, live_update
from virtnet.lab.standin.automatic_migrations import Cause
from virtnet.lab.standin.conditions import find
from virtnet.lab.standin.kubevirt import NETWORKS, migration_in_progress, phase
from virtnet.lab.standin.vmis import current_pod

Object = dict[str, Any]
HERE = Path(__file__).parent
RECORDED = [
    HERE / "trace" / "nic_by_migration.jsonl",
    HERE.parent / "controllers" / "trace" / "nad_change.jsonl",
    HERE.parent / "controllers" / "trace" / "nic_in_migration.jsonl",
]
QUIET = 1.0
"""Seconds after which nobody has anything left to do."""

recorded = pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)


@recorded
def test_what_is_copied_to_a_running_vmi_is_as_recorded(path: Path) -> None:
    replay, copied = Replay(path), 0
    for line, before, _ in replay.changes():
        if line["kind"] != "VirtualMachineInstance" or before is None or "spec." not in str(line.get("set")):
            continue
        vmi = deepcopy(before)
        hotplug.copy_to_instance(vmi, replay.of("VirtualMachine")[0])
        assert vmi["spec"] == replay.of("VirtualMachineInstance")[0]["spec"]
        copied += 1
    assert copied


@recorded
def test_what_a_running_pod_is_asked_for_is_as_recorded(path: Path) -> None:
    """In mid-migration, too: of the source alone."""
    replay, decided = Replay(path), 0
    for line, before, quiet in replay.changes():
        vmis = replay.of("VirtualMachineInstance")
        if not vmis or phase(vmis[0]) != "Running":
            continue
        (vmi,) = vmis
        if line["kind"] == "Pod" and before is not None and NETWORKS in str(line.get("set")):
            pod = deepcopy(before)
            hotplug.select(pod, vmi)
            assert pod["metadata"]["annotations"][NETWORKS] == line["set"][f"metadata.annotations[{NETWORKS}]"]
            decided += 1
        elif quiet > QUIET and (current := current_pod(vmi, replay.of("Pod"))):
            same = deepcopy(current)
            hotplug.select(same, vmi)
            assert same == current
    assert decided or path.stem == "nad_change"


@recorded
def test_a_migration_is_required_when_it_was(path: Path) -> None:
    replay, seen = Replay(path), set()
    for _, _, quiet in replay.changes():
        for vmi in replay.of("VirtualMachineInstance"):
            current = current_pod(vmi, replay.of("Pod"))
            if quiet <= QUIET or current is None or phase(vmi) != "Running" or migration_in_progress(vmi):
                continue
            expected = find(vmi["status"]["conditions"], live_update.MIGRATION_REQUIRED)
            live_update.require_migration(vmi, current)
            made = find(vmi["status"]["conditions"], live_update.MIGRATION_REQUIRED)
            assert (made and (made["status"], made["reason"])) == (
                expected and (expected["status"], expected["reason"])
            )
            seen.add(made and made["status"])
    assert {"True", None} <= seen


@recorded
def test_no_restart_was_required(path: Path) -> None:
    replay = Replay(path)
    for _, _, quiet in replay.changes():
        for vm, vmi in zip(replay.of("VirtualMachine"), replay.of("VirtualMachineInstance"), strict=False):
            if quiet > QUIET:
                assert live_update.restart_required(vm, vmi) == ""


NIC: Object = {"name": "blue", "bridge": {}, "macAddress": "02:00:00:00:00:01"}


def spec_of(*nics: Object, nad: str = "blue-net") -> Object:
    networks = [{"name": nic["name"], "multus": {"networkName": nad}} for nic in nics]
    return {"domain": {"devices": {"interfaces": list(nics)}}, "networks": networks}


@pytest.mark.parametrize(
    ("template", "different"),
    [
        pytest.param(spec_of(NIC), "", id="the same"),
        pytest.param(spec_of({**NIC, "macAddress": ""}), "blue", id="no MAC"),
        pytest.param(spec_of({**NIC, "state": "absent", "macAddress": ""}), "blue", id="no MAC, to go"),
        pytest.param(spec_of({**NIC, "state": "absent"}), "", id="to go"),
        pytest.param(spec_of({**NIC, "state": "down"}), "", id="link down"),
        pytest.param(spec_of({**NIC, "model": "e1000"}), "blue", id="another model"),
        pytest.param(spec_of(NIC, nad="red-net"), "", id="another network"),
        pytest.param(spec_of(), "blue", id="taken out without a word"),
        pytest.param(spec_of(NIC, {"name": "old", "bridge": {}, "state": "absent"}), "", id="gone already"),
        pytest.param(spec_of(NIC, {"name": "new", "bridge": {}}), "", id="a new one"),
        pytest.param(spec_of(NIC, {"name": "new", "masquerade": {}}), "new", id="a new one that cannot be plugged"),
    ],
)
def test_what_only_a_restart_can_mend(template: Object, different: str) -> None:
    vm, vmi = {"spec": {"template": {"spec": template}}}, {"spec": deepcopy(spec_of(NIC))}
    hotplug.copy_to_instance(vmi, vm)
    assert live_update.restart_required(vm, vmi) == different


def test_a_nic_that_nobody_plugs_in_waits_for_its_grace_time() -> None:
    def state(seconds: float) -> Object:
        moment = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
        pending = {"type": "MigrationRequired", "status": "False", "reason": "AutoMigrationPending"}
        vmi = {"metadata": {"namespace": "demo"}, "spec": spec_of(NIC), "status": {"conditions": [pending]}}
        pending["lastTransitionTime"] = moment
        live_update.require_migration(vmi, {"metadata": {"annotations": {}}})
        return vmi

    assert state(0)["status"]["conditions"][0]["status"] == "False"
    assert timedelta() < live_update.grace_left(state(0)) <= live_update.GRACE
    assert state(21)["status"]["conditions"][0]["reason"] == "AutoMigrationDueToLiveUpdate"
    assert live_update.grace_left(state(21)) == timedelta()


def test_failures_of_one_cause_are_tried_again_later_and_later() -> None:
    def ended(outcome: str, ago: float, annotation: str = "kubevirt.io/evacuationMigration") -> Object:
        moment = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat()
        times = [{"phase": outcome, "phaseTransitionTimestamp": moment}]
        return {
            "metadata": {"annotations": {annotation: ""}},
            "status": {"phase": outcome, "phaseTransitionTimestamps": times},
        }

    cause = Cause("evacuation", "kubevirt.io/evacuationMigration", "node1")
    pauses = {
        "none": automatic_migrations.backoff([], cause),
        "another's": automatic_migrations.backoff([ended("Failed", 0, "kubevirt.io/workloadUpdateMigration")], cause),
        "one": automatic_migrations.backoff([ended("Failed", 0)], cause),
        "two": automatic_migrations.backoff([ended("Failed", 30), ended("Failed", 0)], cause),
        "one since": automatic_migrations.backoff([ended("Failed", 30), ended("Succeeded", 20)], cause),
    }
    rounded = {name: round(wait.total_seconds()) for name, wait in pauses.items()}
    assert rounded == {"none": 0, "another's": 0, "one": 20, "two": 40, "one since": 0}

"""What happens to the objects of a VM while it migrates, in order: of a recording, or of what a test has seen."""

from collections.abc import Callable, Iterable
from typing import Any

Object = dict[str, Any]
Said = Callable[[Object], object]

VMI, VMIM, POD = "VirtualMachineInstance", "VirtualMachineInstanceMigration", "Pod"

RECORDED = (
    "VMIM Pending",
    "target pod made",
    "VMIM Scheduling",
    "target pod bound",
    "target pod attached",
    "target pod Running",
    "VMIM Scheduled",
    "handed off",
    "VMIM PreparingTarget",
    "targetNodeAddress",
    "VMIM TargetReady",
    "startTimestamp",
    "VMIM Running",
    "targetNodeDomainDetected",
    "targetNodeDomainReadyTimestamp",
    "target pod told",
    "endTimestamp",
    "VMI's node is the target",
    "target pod unpaused",
    "target pod's label is its node",
    "completed",
    "VMIM Succeeded",
    "VMIM let go",
    "VMI is no target's",
    "source pod Succeeded",
)
"""The order in which a real virt-controller and a player of virt-handler wrote (scenario c of the trace)."""

_UNPAUSED = {"target pod unpaused", "target pod's label is its node"}
UNORDERED = (
    {"VMIM Scheduling", "target pod bound"},
    {"VMIM PreparingTarget", "targetNodeAddress"},
    {"VMIM TargetReady", "startTimestamp", "targetNodeDomainDetected"},
    {"VMIM Running", "targetNodeDomainDetected", "targetNodeDomainReadyTimestamp"},
    {"target pod told", "endTimestamp", "VMI's node is the target"},
    {"completed", *_UNPAUSED},
    {"VMIM Succeeded", "VMIM let go", "VMI is no target's", "source pod Succeeded", *_UNPAUSED},
)
"""Written by parties that do not wait for each other: none of these orders says anything."""


def milestones(seen: Iterable[Object], uid: str) -> dict[str, int]:
    """The resourceVersion at which each was first true, of the migration with this uid.

    A resourceVersion is one count for all objects, so it orders what several watches have told.
    """
    found: dict[str, int] = {}
    looked_for = {**_of_vmim(uid), **_of_vmi(uid), **_of_pods(uid)}
    for thing in sorted(seen, key=lambda thing: int(thing["metadata"]["resourceVersion"])):
        for name, (kind, said) in looked_for.items():
            if name not in found and thing["kind"] == kind and said(thing):
                found[name] = int(thing["metadata"]["resourceVersion"])
    return found


def surprises(found: dict[str, int]) -> list[tuple[str, str]]:
    """Pairs whose order is not the recorded one, where it matters."""
    return [
        (earlier, later)
        for place, earlier in enumerate(RECORDED)
        for later in RECORDED[place + 1 :]
        if found[earlier] > found[later] and not any({earlier, later} <= group for group in UNORDERED)
    ]


def _of_vmim(uid: str) -> dict[str, tuple[str, Said]]:
    def in_phase(phase: str) -> Said:
        return lambda vmim: vmim["metadata"]["uid"] == uid and vmim.get("status", {}).get("phase") == phase

    phases = ("Pending", "Scheduling", "Scheduled", "PreparingTarget", "TargetReady", "Running", "Succeeded")
    let_go: Said = lambda vmim: in_phase("Succeeded")(vmim) and not vmim["metadata"].get("finalizers")  # noqa: E731
    return {**{f"VMIM {phase}": (VMIM, in_phase(phase)) for phase in phases}, "VMIM let go": (VMIM, let_go)}


def _of_vmi(uid: str) -> dict[str, tuple[str, Said]]:
    def state(vmi: Object) -> Object:
        found: Object = vmi["status"].get("migrationState") or {}
        return found if found.get("migrationUid") == uid else {}

    def has(field: str) -> Said:
        return lambda vmi: field in state(vmi)

    def is_the_targets(vmi: Object) -> bool:
        node, label = state(vmi).get("targetNode", "none"), vmi["metadata"]["labels"].get("kubevirt.io/nodeName")
        return bool(vmi["status"].get("nodeName") == label == node)

    def is_nobodys(vmi: Object) -> bool:
        return "completed" in state(vmi) and "kubevirt.io/migrationTargetNodeName" not in vmi["metadata"]["labels"]

    fields = ("targetNodeAddress", "startTimestamp", "targetNodeDomainDetected", "targetNodeDomainReadyTimestamp")
    said: dict[str, Said] = {
        "handed off": has("migrationUid"),
        **{field: has(field) for field in (*fields, "endTimestamp", "completed")},
        "VMI's node is the target": is_the_targets,
        "VMI is no target's": is_nobodys,
    }
    return {name: (VMI, one) for name, one in said.items()}


def _of_pods(uid: str) -> dict[str, tuple[str, Said]]:
    def target(said: Said) -> Said:
        return lambda pod: pod["metadata"]["labels"].get("kubevirt.io/migrationJobUID") == uid and said(pod)

    def annotated(name: str) -> Said:
        return target(lambda pod: name in pod["metadata"]["annotations"])

    def unpaused(pod: Object) -> bool:
        kinds = [one["type"] for one in pod["status"].get("conditions", ())]
        return "kubevirt.io/virtual-machine-unpaused" in kinds

    said = {
        "target pod made": target(lambda pod: True),
        "target pod bound": target(lambda pod: pod["spec"].get("nodeName")),
        "target pod attached": annotated("k8s.v1.cni.cncf.io/network-status"),
        "target pod Running": target(lambda pod: pod["status"].get("phase") == "Running"),
        "target pod told": annotated("kubevirt.io/migration-target-ready-timestamp"),
        "target pod unpaused": target(unpaused),
        "target pod's label is its node": target(
            lambda pod: pod["metadata"]["labels"].get("kubevirt.io/nodeName") == pod["spec"].get("nodeName")
        ),
        "source pod Succeeded": lambda pod: (
            "kubevirt.io/migrationJobUID" not in pod["metadata"]["labels"] and pod["status"].get("phase") == "Succeeded"
        ),
    }
    return {name: (POD, one) for name, one in said.items()}

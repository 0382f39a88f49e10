"""The steps of a VMI's ``status.migrationState``. Each changes the VMI in place, if it still is the same migration."""

import random
from typing import Any

from virtnet.lab.standin.conditions import find, now
from virtnet.lab.standin.kubevirt import IMAGE, NODE_NAME, OVERHEAD, TARGET_NODE, Object
from virtnet.lab.standin.live_update import MIGRATION_REQUIRED

CONFIGURATION: dict[str, Any] = {
    "allowAutoConverge": False,
    "allowPostCopy": False,
    "allowWorkloadDisruption": False,
    "bandwidthPerMigration": "0",
    "completionTimeoutPerGiB": 150,
    "maxDowntimeMs": 900,
    "nodeDrainTaintKey": "kubevirt.io/drain",
    "parallelMigrationsPerCluster": 5,
    "parallelOutboundMigrationsPerNode": 2,
    "progressTimeout": 150,
    "unsafeMigrationOverride": False,
    "utilityVolumesTimeout": 150,
}
"""KubeVirt's defaults."""

ABORTED = "Live migration has been aborted"
TARGET_DOWN = "Target pod is down"


def handed_off(vmim: Object, source: Object, target: Object) -> Object:
    """What virt-controller writes, in place of whatever an earlier migration has left."""
    return {
        "migrationConfiguration": dict(CONFIGURATION),
        "migrationUid": vmim["metadata"]["uid"],
        "sourceNode": source["spec"]["nodeName"],
        "sourcePod": source["metadata"]["name"],
        "targetMemoryOverhead": OVERHEAD,
        "targetNode": target["spec"]["nodeName"],
        "targetPod": target["metadata"]["name"],
    }


def of(vmi: Object, uid: str) -> Object | None:
    """The state of this migration, unless it is over or another's."""
    state: Object = vmi["status"].get("migrationState") or {}
    return state if state.get("migrationUid") == uid and not state.get("completed") else None


def prepared(vmi: Object, uid: str, address: str) -> None:
    """The target listens."""
    if (state := of(vmi, uid)) is not None:
        state["targetNodeAddress"] = address
        ports = random.sample(range(30000, 60000), 3)
        state["targetDirectMigrationNodePorts"] = dict(zip(map(str, ports), (0, 49152, 49153), strict=True))


def started(vmi: Object, uid: str) -> None:
    if (state := of(vmi, uid)) is not None:
        state.setdefault("startTimestamp", now())
        state["mode"] = "PreCopy"


def switched(vmi: Object, uid: str) -> None:
    """In post-copy: the guest has left the source for good."""
    if (state := of(vmi, uid)) is not None:
        state["mode"] = "PostCopy"


def detected(vmi: Object, uid: str) -> None:
    """The guest is on the target, but does not run there."""
    if (state := of(vmi, uid)) is not None:
        state["targetNodeDomainDetected"] = True


def domain_ready(vmi: Object, uid: str) -> None:
    """The guest runs on the target."""
    if (state := of(vmi, uid)) is not None:
        state.setdefault("targetNodeDomainReadyTimestamp", now())
        conditions = vmi["status"].get("conditions", [])
        if (required := find(conditions, MIGRATION_REQUIRED)) is not None:
            conditions.remove(required)


def moved(vmi: Object, uid: str) -> None:
    """The VMI is the target node's."""
    if (state := of(vmi, uid)) is not None:
        state.setdefault("endTimestamp", now())
        vmi["status"]["nodeName"] = vmi["metadata"]["labels"][NODE_NAME] = state["targetNode"]
        if vmi["status"].get("launcherContainerImageVersion") == IMAGE:
            del vmi["status"]["launcherContainerImageVersion"]
        vmi["status"].pop("evacuationNodeName", None)


def completed(vmi: Object, uid: str) -> None:
    if (state := of(vmi, uid)) is not None:
        state["completed"] = True


def request_abort(vmi: Object, uid: str) -> None:
    if (state := of(vmi, uid)) is not None:
        state["abortRequested"] = True


def failed(vmi: Object, uid: str, reason: str) -> None:
    """The source's node gives up; the guest goes on where it was."""
    if (state := of(vmi, uid)) is not None:
        if state.get("abortRequested"):
            state["abortStatus"] = "Succeeded"
            reason = ABORTED
        state |= {"failed": True, "completed": True, "failureReason": reason, "endTimestamp": now()}


def target_down(vmi: Object, uid: str) -> None:
    """virt-controller gives up; the times say nothing about what has run."""
    if (state := of(vmi, uid)) is not None:
        times = {"startTimestamp": now(), "endTimestamp": now()}
        state |= {"failed": True, "completed": True, "failureReason": TARGET_DOWN, **times}


def no_target(vmi: Object) -> None:
    """No migration goes on: nobody is its target."""
    vmi["metadata"].get("labels", {}).pop(TARGET_NODE, None)

"""virt-controller's part for VMIs: their launcher pod, and what of the pod the VMI tells."""

from collections import Counter

import structlog

from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import NADS, PODS, VMIS
from virtnet.lab.standin import hotplug, interfaces, live_update
from virtnet.lab.standin.conditions import ConditionBody, find, now, put
from virtnet.lab.standin.kubevirt import (
    CREATED_BY,
    FINAL,
    IMAGE,
    JOB_UID,
    NODE_NAME,
    OVERHEAD,
    UNPAUSED,
    VMI_FINALIZER,
    Object,
    final,
    migration_in_progress,
    phase,
)
from virtnet.lab.standin.launcher_pod import launcher_pod
from virtnet.lab.standin.multus import resource_of
from virtnet.lab.standin.objects import enter
from virtnet.lab.standin.store import Store, StoreKey, going, key_of, uid_of
from virtnet.lab.standin.worker import Again, Worker

log = structlog.get_logger()

REFUSED_SECONDS = 2.0

EVICTION_REQUESTED = "EvictionRequested"


class Instances:
    """Handles one VMI sequentially."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.worker: Worker[StoreKey] = Worker("vmis", self._sync)
        store.on_change(VMIS, lambda key, vmi: self.worker.nudge(key))
        store.on_change(PODS, lambda key, pod: self._pod_changed(pod))

    def _pod_changed(self, pod: Object) -> None:
        for owner in pod["metadata"].get("ownerReferences", ()):
            if owner["kind"] == "VirtualMachineInstance":
                self.worker.nudge((pod["metadata"]["namespace"], owner["name"]))

    async def _sync(self, key: StoreKey) -> None:
        vmi = self._store.get(VMIS, key)
        if vmi is None:
            return
        pods = pods_of(self._store, vmi)
        if going(vmi):
            for pod in pods:
                if not going(pod):
                    await self._store.delete(PODS, pod)
        elif phase(vmi) == "Pending" and not pods:
            pods = [await self._start(vmi)]
        current = current_pod(vmi, pods)
        if current and not going(vmi):
            await self._unpause(vmi, current)
        written = await self._store.update(VMIS, key, lambda new: _follow(new, pods), uid=uid_of(vmi))
        if written is not None:
            await self._pass_on(key, written, current)

    async def _pass_on(self, key: StoreKey, written: Object, current: Object | None) -> None:
        """What the VMI says by now, to its pod; and let it go when it is over."""
        if current and not final(written):
            await self._label(written, current)
            await self._select(written, current)
        if going(written) and not pods_of(self._store, written):
            await self._store.update(VMIS, key, _let_go, uid=uid_of(written))
        if left := live_update.grace_left(written):
            raise Again(left.total_seconds())

    async def _start(self, vmi: Object) -> Object:
        try:
            return await self._store.create(PODS, launcher_pod(vmi, devices_of(self._store, vmi)))
        except Rejected as problem:
            message = f"failed to create virtual machine pod: {problem}"
            log.warning("no launcher pod", vmi=vmi["metadata"]["name"], problem=message)
            said = {"type": "Synchronized", "status": "False", "reason": "FailedCreate", "message": message}

            def change(new: Object) -> None:
                put(new["status"].setdefault("conditions", []), {**said, **_times()})

            await self._store.update(VMIS, key_of(vmi), change, uid=uid_of(vmi))
            raise Again(REFUSED_SECONDS) from problem

    async def _unpause(self, vmi: Object, pod: Object) -> None:
        """Open the readiness gate of the pod that the guest is in."""
        if JOB_UID in pod["metadata"]["labels"] and vmi["status"].get("nodeName") != pod["spec"].get("nodeName"):
            return
        said = {
            "type": UNPAUSED,
            "status": "True",
            "reason": "NotPaused",
            "message": "the virtual machine is not paused",
        }

        def change(new: Object) -> None:
            if not final(new):
                put(new["status"].setdefault("conditions", []), {**said, **_times()})

        await self._store.update(PODS, key_of(pod), change, subresource="status", uid=uid_of(pod))

    async def _select(self, vmi: Object, pod: Object) -> None:
        """Tell a running pod of NICs that come or go; a migration's source, too, whose target is not told."""
        if phase(vmi) == "Running" and not going(pod):
            await self._store.update(PODS, key_of(pod), lambda new: hotplug.select(new, vmi), uid=uid_of(pod))

    async def _label(self, vmi: Object, pod: Object) -> None:
        """The VMI's node is a label of its pod, too: of the new one only when the guest is there."""
        node = vmi["metadata"].get("labels", {}).get(NODE_NAME)

        def change(new: Object) -> None:
            if node and new["spec"].get("nodeName") == node:
                new["metadata"]["labels"][NODE_NAME] = node

        await self._store.update(PODS, key_of(pod), change, uid=uid_of(pod))


def devices_of(store: Store, vmi: Object) -> Counter[str]:
    """How many devices of each resource a VMI's networks need, by their NADs, whatever their binding."""
    namespace, found = vmi["metadata"]["namespace"], Counter[str]()
    for network in vmi["spec"].get("networks", ()):
        if "multus" in network:
            place, _, name = network["multus"]["networkName"].rpartition("/")
            found[resource_of(store.get(NADS, (place or namespace, name)))] += 1
    del found[""]
    return found


def pods_of(store: Store, vmi: Object) -> list[Object]:
    """All pods of a VMI, completed ones included."""
    uid = uid_of(vmi)
    namespace = vmi["metadata"]["namespace"]
    return [
        pod
        for pod in store.all(PODS)
        if pod["metadata"]["namespace"] == namespace and pod["metadata"].get("labels", {}).get(CREATED_BY) == uid
    ]


def current_pod(vmi: Object, pods: list[Object]) -> Object | None:
    """The pod that the guest is in, or will be started in."""
    node = vmi["status"].get("nodeName")
    for pod in pods:
        if final(pod):
            continue
        if node and pod["spec"].get("nodeName") == node:
            return pod
        if not node and JOB_UID not in pod["metadata"]["labels"]:
            return pod
    return None


def _follow(vmi: Object, pods: list[Object]) -> None:
    """Everything that a VMI's status tells of its pods."""
    status, labels = vmi["status"], vmi["metadata"].setdefault("labels", {})
    current = current_pod(vmi, pods)
    status["activePods"] = {uid_of(pod): pod["spec"].get("nodeName", "") for pod in pods}
    if phase(vmi) == "Pending" and current:
        status.setdefault("memory", {})["memoryOverhead"] = OVERHEAD
        enter(status, "Scheduling")
    if current and phase(vmi) not in FINAL:
        status["launcherContainerImageVersion"] = IMAGE
        status["qosClass"] = current["status"].get("qosClass", "Burstable")
    if phase(vmi) == "Scheduling" and current and phase(current) == "Running":
        status["nodeName"] = labels[NODE_NAME] = current["spec"]["nodeName"]
        status["interfaces"] = interfaces.planned(vmi)
        status["migrationTransport"] = "Unix"
        if volumes := vmi["spec"].get("volumes"):
            status["volumeStatus"] = [{"name": volume["name"], "target": ""} for volume in volumes]
        enter(status, "Scheduled")
    if phase(vmi) == "Running" and current and not going(vmi) and migration_in_progress(vmi) is None:
        hotplug.report(vmi, current)
        live_update.require_migration(vmi, current)
        hotplug.remove(vmi["spec"], hotplug.absent(vmi["spec"]) - {one["name"] for one in status["interfaces"]})
    if _abandoned(vmi, current, pods):
        enter(status, "Failed")
    put(status.setdefault("conditions", []), _ready(vmi, current))
    _evicted(status)


def _evicted(status: Object) -> None:
    requested, condition = "evacuationNodeName" in status, find(status["conditions"], EVICTION_REQUESTED)
    if requested:
        said = {"type": EVICTION_REQUESTED, "status": "True", "reason": EVICTION_REQUESTED}
        put(status["conditions"], {**said, "lastProbeTime": None, "lastTransitionTime": now()})
    elif condition is not None:
        status["conditions"].remove(condition)


def _abandoned(vmi: Object, current: Object | None, pods: list[Object]) -> bool:
    """Whether the VMI has lost its pod, and nobody else will say so."""
    if phase(vmi) in FINAL or current:
        return False
    if phase(vmi) == "Pending":
        return going(vmi) and not pods
    return not migration_in_progress(vmi)


def _ready(vmi: Object, pod: Object | None) -> ConditionBody:
    if phase(vmi) in FINAL and not going(vmi):
        return _not_ready("PodCondition", "the virtual machine has ended")
    if pod is None or going(pod) or going(vmi):
        return _not_ready("PodTerminating", "virt-launcher pod is terminating")
    if phase(vmi) != "Running":
        return _not_ready("GuestNotRunning", "Guest VM is not reported as running")
    of_pod = find(pod["status"].get("conditions", ()), "Ready")
    if of_pod is None or of_pod["status"] != "True":
        said = of_pod or {}
        return _not_ready(said.get("reason", "PodConditionMissing"), said.get("message", "the pod is not ready"))
    return {"type": "Ready", "status": "True", "lastProbeTime": None, "lastTransitionTime": now()}


def _not_ready(reason: str, message: str) -> ConditionBody:
    return {"type": "Ready", "status": "False", "reason": reason, "message": message, **_times()}


def _times() -> ConditionBody:
    return {"lastProbeTime": now(), "lastTransitionTime": now()}


def _let_go(vmi: Object) -> None:
    finalizers = vmi["metadata"].get("finalizers", [])
    if VMI_FINALIZER in finalizers and phase(vmi) in FINAL:
        finalizers.remove(VMI_FINALIZER)

"""virt-controller's part for migrations: a target pod, the hand-off to the nodes, and what became of it."""

from collections.abc import Callable

import structlog

from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import PODS, VMIMS, VMIS
from virtnet.lab.standin import migration_state as states
from virtnet.lab.standin.conditions import find, go_time, now, put
from virtnet.lab.standin.kubevirt import (
    JOB_UID,
    NONROOT,
    TARGET_NODE,
    TARGET_READY,
    VMI_NAME,
    VMIM_FINALIZER,
    Object,
    final,
    phase,
)
from virtnet.lab.standin.launcher_pod import target_pod
from virtnet.lab.standin.objects import enter
from virtnet.lab.standin.store import Store, StoreKey, going, key_of, uid_of
from virtnet.lab.standin.vmis import current_pod, devices_of, pods_of
from virtnet.lab.standin.ways import Way, way_of
from virtnet.lab.standin.worker import Again, Worker

log = structlog.get_logger()

KEPT = 5
"""So many finished migrations of a VMI are kept."""

REFUSED_SECONDS = 2.0

NEXT = {
    "PreparingTarget": ("targetNodeAddress", "TargetReady"),
    "TargetReady": ("startTimestamp", "Running"),
}
"""What a node writes, and the phase that it leads to."""


class Migrations:
    """Handles one VMIM sequentially; every change of the VMI or of one of its pods is a reason to look again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._orphans: set[str] = set()
        self.worker: Worker[StoreKey] = Worker("migrations", self._sync)
        store.on_change(VMIMS, self._changed)
        store.on_change(VMIS, self._vmi_changed)
        store.on_change(PODS, lambda key, pod: self._pod_changed(pod))

    def _changed(self, key: StoreKey, vmim: Object) -> None:
        """One that has ended lets the next begin."""
        self.worker.nudge(key)
        if final(vmim):
            for other in self._of_vmi(key[0], vmim["spec"]["vmiName"]):
                self.worker.nudge(key_of(other))

    def _vmi_changed(self, key: StoreKey, vmi: Object) -> None:
        gone = self._store.get(VMIS, key) is None
        for vmim in self._of(vmi):
            if gone:
                self._orphans.add(uid_of(vmim))
            self.worker.nudge(key_of(vmim))

    def _pod_changed(self, pod: Object) -> None:
        for owner in pod["metadata"].get("ownerReferences", ()):
            vmi = self._store.get(VMIS, (pod["metadata"]["namespace"], owner["name"]))
            for vmim in self._of(vmi) if vmi else ():
                self.worker.nudge(key_of(vmim))

    def _of(self, vmi: Object) -> list[Object]:
        return self._of_vmi(*key_of(vmi))

    def _of_vmi(self, namespace: str, name: str) -> list[Object]:
        return [
            vmim
            for vmim in self._store.all(VMIMS)
            if vmim["metadata"]["namespace"] == namespace and vmim["spec"].get("vmiName") == name
        ]

    async def _sync(self, key: StoreKey) -> None:
        """As many steps as can be taken now: each looks at what the one before has written."""
        while True:
            vmim = self._store.get(VMIMS, key)
            if vmim is None:
                return
            vmi = self._store.get(VMIS, (key[0], vmim["spec"]["vmiName"]))
            before = vmim["metadata"]["resourceVersion"]
            await self._step(key, vmim, vmi)
            after = self._store.get(VMIMS, key)
            if after is None or after["metadata"]["resourceVersion"] == before:
                return

    async def _step(self, key: StoreKey, vmim: Object, vmi: Object | None) -> None:
        if vmi is None or uid_of(vmim) in self._orphans:
            await self._orphaned(key, vmim)
        elif final(vmim):
            await self._finish(key, vmim, vmi)
        elif not vmim["metadata"].get("finalizers") and not going(vmim):
            await self._store.update(VMIMS, key, _admitted)  # what virt-api's webhook does
        elif final(vmi) or (going(vmi) and self._target_down(vmim, vmi)):
            await self._enter(key, "Failed")
        elif going(vmim) and not going(vmi):
            await self._abort(key, vmim, vmi)
        else:
            await self._advance(key, vmim, vmi)

    async def _advance(self, key: StoreKey, vmim: Object, vmi: Object) -> None:
        match phase(vmim):
            case "":
                await self._accept(key, vmi)
            case "Pending":
                await self._make_target(key, vmim, vmi)
            case "Scheduling":
                target = self._target(vmim, vmi)
                if target is None or final(target) or going(target):
                    await self._enter(key, "Failed")
                elif phase(target) == "Running":
                    await self._enter(key, "Scheduled")
            case "Scheduled":
                await self._hand_off(key, vmim, vmi)
            case _:
                await self._follow(key, vmim, vmi)

    async def _follow(self, key: StoreKey, vmim: Object, vmi: Object) -> None:
        """After the hand-off the nodes act, and the phase follows what they write."""
        state, uid = vmi["status"].get("migrationState") or {}, uid_of(vmim)
        if state.get("migrationUid") != uid:
            await self._enter(key, "Failed")
        elif state.get("completed"):
            await self._enter(key, "Failed" if state.get("failed") else "Succeeded")
        elif self._target_down(vmim, vmi) and not going(vmi):
            await self._change_vmi(vmi, lambda new: states.target_down(new, uid))
        elif (following := NEXT.get(phase(vmim))) and state.get(following[0]):
            await self._enter(key, following[1])
        elif phase(vmim) == "Running" and (ready := state.get("targetNodeDomainReadyTimestamp")):
            await self._tell_target(vmim, vmi, ready)

    async def _accept(self, key: StoreKey, vmi: Object) -> None:
        source = current_pod(vmi, pods_of(self._store, vmi))
        if phase(vmi) != "Running" or source is None:
            return

        def change(new: Object) -> None:
            status = new.setdefault("status", {})
            status["migrationState"] = {"sourcePod": source["metadata"]["name"]}
            enter(status, "Pending")

        await self._store.update(VMIMS, key, change, subresource="status")

    async def _make_target(self, key: StoreKey, vmim: Object, vmi: Object) -> None:
        """Once no other migration of this VMI is under way, and nothing but the source is left of the last one."""
        if self._target(vmim, vmi) is None:
            earlier = [other for other in self._of(vmi) if _age(other) < _age(vmim) and not final(other)]
            live = [pod for pod in pods_of(self._store, vmi) if not final(pod)]
            if earlier or len(live) != 1 or phase(vmi) != "Running":
                return
            fresh = await self._change_vmi(vmi, _nonroot)
            if fresh is None:
                return
            try:
                await self._store.create(PODS, target_pod(fresh, vmim, devices_of(self._store, fresh)))
            except Rejected as problem:
                log.warning("no target pod", migration=vmim["metadata"]["name"], problem=str(problem))
                raise Again(REFUSED_SECONDS) from problem
        if way_of(self._store, uid_of(vmim)) is Way.VOLUMES and phase(self._target(vmim, vmi) or {}) != "Running":
            return
        await self._enter(key, "Scheduling")

    async def _hand_off(self, key: StoreKey, vmim: Object, vmi: Object) -> None:
        target = self._target(vmim, vmi)
        source = current_pod(vmi, pods_of(self._store, vmi))
        if target is None or final(target) or going(target) or source is None:
            await self._enter(key, "Failed")
            return
        state = states.handed_off(vmim, source, target)

        def change(new: Object) -> None:
            if (new["status"].get("migrationState") or {}).get("migrationUid") != uid_of(vmim):
                new["status"]["migrationState"] = state
                new["metadata"].setdefault("labels", {})[TARGET_NODE] = state["targetNode"]

        await self._change_vmi(vmi, change)
        await self._enter(key, "PreparingTarget")

    async def _tell_target(self, vmim: Object, vmi: Object, ready: str) -> None:
        target = self._target(vmim, vmi)
        if target is None:
            return

        def change(new: Object) -> None:
            new["metadata"].setdefault("annotations", {}).setdefault(TARGET_READY, go_time(ready))

        await self._store.update(PODS, key_of(target), change, uid=uid_of(target))

    async def _abort(self, key: StoreKey, vmim: Object, vmi: Object) -> None:
        """Before the hand-off the target pod just goes; after it the source's node is asked to stop."""
        state = vmi["status"].get("migrationState") or {}
        if state.get("migrationUid") == uid_of(vmim):
            if state.get("completed"):
                await self._advance(key, vmim, vmi)
                return
            await self._change_vmi(vmi, lambda new: states.request_abort(new, uid_of(vmim)))
            await self._store.update(VMIMS, key, _abort_noted, subresource="status")
            return
        target = self._target(vmim, vmi)
        if target is not None and not going(target):
            await self._store.delete(PODS, target)

        def change(new: Object) -> None:
            _abort_noted(new)
            enter(new["status"], "Failed")

        await self._store.update(VMIMS, key, change, subresource="status")

    async def _finish(self, key: StoreKey, vmim: Object, vmi: Object) -> None:
        state = vmi["status"].get("migrationState") or {}

        def change(new: Object) -> None:
            if state.get("migrationUid") == uid_of(new):
                new["status"]["migrationState"] = state

        if vmim["metadata"].get("finalizers"):
            await self._store.update(VMIMS, key, change, subresource="status")
            await self._store.update(VMIMS, key, _let_go)
        await self._collect(vmi)

    async def _collect(self, vmi: Object) -> None:
        """Too many finished migrations: the oldest go, and with each the completed pod that it left."""
        finished = sorted((vmim for vmim in self._of(vmi) if final(vmim) and not going(vmim)), key=_age)
        pods = {pod["metadata"]["name"]: pod for pod in pods_of(self._store, vmi)}
        for vmim in finished[:-KEPT]:
            state = vmim["status"].get("migrationState", {})
            left = pods.get(state.get("targetPod" if state.get("failed") else "sourcePod", ""))
            if left is not None and final(left):
                await self._store.delete(PODS, left)
            await self._store.delete(VMIMS, vmim)

    async def _orphaned(self, key: StoreKey, vmim: Object) -> None:
        """The VMI is gone: so goes its migration."""
        if not final(vmim):
            await self._enter(key, "Failed")
        await self._store.update(VMIMS, key, _let_go)
        await self._store.delete(VMIMS, vmim)
        self._orphans.discard(uid_of(vmim))

    def _target(self, vmim: Object, vmi: Object) -> Object | None:
        uid = uid_of(vmim)
        pods = pods_of(self._store, vmi)
        return next((pod for pod in pods if pod["metadata"]["labels"].get(JOB_UID) == uid), None)

    def _target_down(self, vmim: Object, vmi: Object) -> bool:
        if phase(vmim) in {"", "Pending"}:
            return True
        target = self._target(vmim, vmi)
        return target is None or final(target) or going(target)

    async def _enter(self, key: StoreKey, new_phase: str) -> None:
        await self._store.update(
            VMIMS, key, lambda new: enter(new.setdefault("status", {}), new_phase), subresource="status"
        )

    async def _change_vmi(self, vmi: Object, change: Callable[[Object], None]) -> Object | None:
        return await self._store.update(VMIS, key_of(vmi), change, uid=uid_of(vmi))


def _age(vmim: Object) -> tuple[str, str]:
    """Times are whole seconds; within one, any order will do if it is always the same."""
    return vmim["metadata"]["creationTimestamp"], uid_of(vmim)


def _admitted(vmim: Object) -> None:
    metadata = vmim["metadata"]
    metadata.setdefault("labels", {})[VMI_NAME] = vmim["spec"]["vmiName"]
    metadata["finalizers"] = [VMIM_FINALIZER]


def _let_go(vmim: Object) -> None:
    finalizers = vmim["metadata"].get("finalizers", [])
    if VMIM_FINALIZER in finalizers:
        finalizers.remove(VMIM_FINALIZER)
    if not finalizers:
        vmim["metadata"].pop("finalizers", None)


def _nonroot(vmi: Object) -> None:
    vmi["metadata"].setdefault("annotations", {})[NONROOT] = "true"


def _abort_noted(vmim: Object) -> None:
    conditions = vmim.setdefault("status", {}).setdefault("conditions", [])
    if find(conditions, "migrationAbortRequested") is None:
        said = {"type": "migrationAbortRequested", "status": "True"}
        put(conditions, {**said, "lastProbeTime": now(), "lastTransitionTime": None})

"""virt-controller's part for VirtualMachines: they have a VMI while they are to run, and say how it fares."""

from virtnet.kube.kinds import VMIS, VMS
from virtnet.lab.standin import hotplug, live_update, run_strategies
from virtnet.lab.standin.conditions import ConditionBody, find, is_true, now, put
from virtnet.lab.standin.kubevirt import GENERATION, VM_FINALIZER, Object, final, migration_in_progress, phase
from virtnet.lab.standin.objects import vmi_of
from virtnet.lab.standin.run_strategies import InstanceAction, starts, step, strategy
from virtnet.lab.standin.store import Store, StoreKey, going, owned_by, uid_of
from virtnet.lab.standin.worker import Worker

COPIED = (
    "Ready",
    "LiveMigratable",
    "StorageLiveMigratable",
    "AgentConnected",
    live_update.MIGRATION_REQUIRED,
    "EvictionRequested",
)


class VirtualMachines:
    """Handles one VM sequentially; told of its VMI's changes, too, which has its name."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.worker: Worker[StoreKey] = Worker("vms", self._sync)
        store.on_change(VMS, lambda key, vm: self.worker.nudge(key))
        store.on_change(VMIS, lambda key, vmi: self.worker.nudge(key))

    async def _sync(self, key: StoreKey) -> None:
        vm = self._store.get(VMS, key)
        if vm is None:
            return
        vmi = self._store.get(VMIS, key)
        if vmi is not None and not owned_by(vmi, vm):
            vmi = None
        if going(vm):
            await self._end(key, vmi)
        else:
            await self._store.update(VMS, key, _finalized)
            vmi = await self._follow(key, vm, vmi)
        await self._store.update(VMS, key, lambda new: _report(new, vmi), subresource="status")

    async def _follow(self, key: StoreKey, vm: Object, vmi: Object | None) -> Object | None:
        """The VMI, made or deleted as the VM's run strategy wants."""
        wanted = step(vm, vmi)
        if vmi is None:
            # A deleted VMI's name is free again only when it is gone.
            free = self._store.get(VMIS, key) is None
            return await self._store.create(VMIS, vmi_of(vm)) if wanted is InstanceAction.STARTED and free else None
        await self._keep_generation(key, vm, vmi)
        await self._hotplug(key, vm, vmi)
        if not going(vmi) and wanted is InstanceAction.STOPPED:
            await self._store.update(
                VMS, key, lambda new: run_strategies.request_restart(new, vmi), subresource="status"
            )
            await self._store.delete(VMIS, vmi)
        await self._release(key, vmi)
        return self._store.get(VMIS, key)

    async def _end(self, key: StoreKey, vmi: Object | None) -> None:
        if vmi is None:
            await self._store.update(VMS, key, lambda vm: _without(vm, VM_FINALIZER))
            return
        if not going(vmi):
            await self._store.delete(VMIS, vmi)
        await self._release(key, vmi)

    async def _release(self, key: StoreKey, vmi: Object) -> None:
        """Let a VMI go that is over, and that somebody has deleted."""
        if going(vmi) and final(vmi):
            await self._store.update(VMIS, key, lambda new: _without(new, VM_FINALIZER), uid=uid_of(vmi))

    async def _hotplug(self, key: StoreKey, vm: Object, vmi: Object) -> None:
        """NICs that the VM has got or is to lose since its VMI was made."""
        if going(vmi) or final(vmi):
            return
        await self._store.update(VMIS, key, lambda new: hotplug.copy_to_instance(new, vm), uid=uid_of(vmi))
        has = {one["name"] for one in vmi["spec"].get("networks", ())}
        gone = hotplug.absent(vm["spec"]["template"]["spec"]) - has
        if gone:
            await self._store.update(VMS, key, lambda new: hotplug.remove(new["spec"]["template"]["spec"], gone))

    async def _keep_generation(self, key: StoreKey, vm: Object, vmi: Object) -> None:
        generation = str(vm["metadata"]["generation"])

        def change(new: Object) -> None:
            new["metadata"].setdefault("annotations", {})[GENERATION] = generation

        await self._store.update(VMIS, key, change, uid=uid_of(vmi))


def printable(vm: Object, vmi: Object | None) -> str:
    """What ``kubectl get vm`` shows."""
    if going(vm):
        return "Terminating"
    if vmi is None:
        return "Starting" if starts(vm) else "Stopped"
    if final(vmi):
        return "Stopped"
    if going(vmi):
        return "Stopping"
    if migration_in_progress(vmi) and vmi["status"]["migrationState"].get("startTimestamp"):
        return "Running" if "endTimestamp" in vmi["status"]["migrationState"] else "Migrating"
    return "Running" if phase(vmi) == "Running" else "Starting"


def _finalized(vm: Object) -> None:
    finalizers = vm["metadata"].setdefault("finalizers", [])
    if VM_FINALIZER not in finalizers:
        finalizers.append(VM_FINALIZER)


def _without(thing: Object, finalizer: str) -> None:
    finalizers = thing["metadata"].get("finalizers", [])
    if finalizer in finalizers:
        finalizers.remove(finalizer)


def _report(vm: Object, vmi: Object | None) -> None:
    status = vm.setdefault("status", {})
    conditions = status.setdefault("conditions", [])
    run_strategies.forget_done(vm, vmi)
    status["printableStatus"] = printable(vm, vmi)
    if vmi is not None or not starts(vm):  # until then it counts as new
        status["runStrategy"] = strategy(vm)
    live_update.require_restart(vm, vmi)
    status["desiredGeneration"] = status["observedGeneration"] = vm["metadata"]["generation"]
    status.pop("created", None)
    status.pop("ready", None)
    if vmi is None:
        put(conditions, _not_ready("VMINotExists", "VMI does not exist"))
        return
    status["created"] = True
    theirs = vmi["status"].get("conditions", [])
    for kind in COPIED:
        ours, new = find(conditions, kind), find(theirs, kind)
        if new is not None:
            put(conditions, dict(new))
        elif ours is not None and kind != "Ready":
            conditions.remove(ours)
    if find(theirs, "Ready") is None:
        put(conditions, _not_ready("VMIConditionMissing", "VMI is missing the Ready condition"))
    if is_true(conditions, "Ready"):
        status["ready"] = True


def _not_ready(reason: str, message: str) -> ConditionBody:
    times = {"lastProbeTime": now(), "lastTransitionTime": now()}
    return {"type": "Ready", "status": "False", "reason": reason, "message": message, **times}

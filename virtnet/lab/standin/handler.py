"""Every node's virt-handler: makes guests of VMIs, and tells what became of them."""

from collections.abc import Container

import structlog

from virtnet.kube.kinds import PODS, VMIS
from virtnet.lab.standin import guest_agent, interfaces
from virtnet.lab.standin.conditions import now, put
from virtnet.lab.standin.domain import BadDomain
from virtnet.lab.standin.hook_sidecars import SidecarFailed
from virtnet.lab.standin.kubelet import Kubelet
from virtnet.lab.standin.kubevirt import MACHINE, Object, final, migration_in_progress, phase
from virtnet.lab.standin.launchers import Launchers
from virtnet.lab.standin.objects import enter
from virtnet.lab.standin.sandboxes import Sandboxes, SandboxRecord
from virtnet.lab.standin.store import Store, StoreKey, going, key_of, uid_of
from virtnet.lab.standin.transfers import Transfers
from virtnet.lab.standin.vmis import current_pod, pods_of
from virtnet.lab.standin.worker import Again, Worker

log = structlog.get_logger()

POWER_DOWN_SECONDS = 5.0
"""A guest that has not ended by then is a guest that does not listen."""

LISTEN_SECONDS = 0.5
"""How often to look whether a guest has said something new, until it has said all."""

SYNCHRONIZED = "Synchronized"
MIGRATABLE = ("LiveMigratable", "StorageLiveMigratable")


class Handler:
    """Handles one VMI sequentially, except for the migration itself, which has a task of its own."""

    def __init__(self, store: Store, sandboxes: Sandboxes, launchers: Launchers, transfers: Transfers) -> None:
        self._store = store
        self._sandboxes = sandboxes
        self._launchers = launchers
        self._transfers = transfers
        self.kubelet: Kubelet | None = None
        self.worker: Worker[StoreKey] = Worker("handler", self._sync)
        store.on_change(VMIS, lambda key, vmi: self.worker.nudge(key))
        store.on_change(PODS, lambda key, pod: self._pod_changed(pod))
        launchers.on_exit(self._guest_ended)
        transfers.on_end(self.worker.nudge)

    def _pod_changed(self, pod: Object) -> None:
        for owner in pod["metadata"].get("ownerReferences", ()):
            if owner["kind"] == "VirtualMachineInstance":
                self.worker.nudge((pod["metadata"]["namespace"], owner["name"]))

    def _guest_ended(self, record: SandboxRecord) -> None:
        pod = self._store.get(PODS, (record.namespace, record.name))
        if pod is not None:
            self._pod_changed(pod)

    async def stop_launcher(self, record: SandboxRecord) -> None:
        """For the kubelet: end a launcher pod's guest. The VMI is told before the pod is."""
        vmi = self._vmi_of(record)
        current = current_pod(vmi, pods_of(self._store, vmi)) if vmi else None
        lives_here = current is not None and uid_of(current) == record.uid
        await self._launchers.stop(record, _patience(vmi) if vmi is not None and lives_here else 0)
        if vmi is not None and lives_here and not final(vmi):
            await self._store.update(VMIS, key_of(vmi), lambda new: enter(new["status"], "Succeeded"), uid=uid_of(vmi))

    def _vmi_of(self, record: SandboxRecord) -> Object | None:
        pod = self._store.get(PODS, (record.namespace, record.name))
        if pod is None or uid_of(pod) != record.uid:
            return None
        owner = pod["metadata"]["ownerReferences"][0]
        vmi = self._store.get(VMIS, (record.namespace, owner["name"]))
        return vmi if vmi and uid_of(vmi) == owner["uid"] else None

    async def _sync(self, key: StoreKey) -> None:
        vmi = self._store.get(VMIS, key)
        if vmi is None:
            return
        pods = pods_of(self._store, vmi)
        current = current_pod(vmi, pods)
        record = self._sandboxes.get(uid_of(current)) if current else None
        if current and record and not going(vmi) and not going(current):
            if phase(vmi) == "Scheduled":
                await self._start(vmi, current, record)
                return
            if phase(vmi) == "Running":
                await self._watch(vmi, record)
                if record.guest is None and migration_in_progress(vmi) is None:
                    await self._launchers.follow(record, vmi, current)
                await self._report(vmi, current, record)
        await self._transfers.advance(vmi, pods)
        self._dismiss(vmi, pods)
        if self._may_say_more(key):
            raise Again(LISTEN_SECONDS)

    async def _start(self, vmi: Object, pod: Object, record: SandboxRecord) -> None:
        if phase(pod) != "Running" or not record.complete:
            return
        await self._store.update(VMIS, key_of(vmi), _can_migrate, uid=uid_of(vmi))
        if record.guest is None:
            try:
                await self._launchers.start(record, vmi, pod)
            except (SidecarFailed, BadDomain) as problem:
                said = str(problem)
                await self._store.update(VMIS, key_of(vmi), lambda new: _not_synchronized(new, said), uid=uid_of(vmi))
                raise
        await self._store.update(
            VMIS, key_of(vmi), lambda new: _running(new, pod, self._launchers.plugged(record)), uid=uid_of(vmi)
        )

    async def _watch(self, vmi: Object, record: SandboxRecord) -> None:
        """A guest that has ended ends its VMI, unless it has only moved."""
        state = migration_in_progress(vmi) or {}
        moving = self._transfers.running(state.get("migrationUid", "")) or "targetNodeDomainReadyTimestamp" in state
        if record.guest is None or moving:
            return
        end = "Failed" if record.guest else "Succeeded"
        log.info("a VMI is over", vmi=vmi["metadata"]["name"], end=end)
        await self._store.update(VMIS, key_of(vmi), lambda new: enter(new["status"], end), uid=uid_of(vmi))

    async def _report(self, vmi: Object, pod: Object, record: SandboxRecord) -> None:
        """Addresses are the pod's, and so may change with it. Not before the migration is over."""
        if migration_in_progress(vmi) is None:
            said, plugged = self._launchers.said(record), self._launchers.plugged(record)

            def change(new: Object) -> None:
                new["status"]["interfaces"] = interfaces.running(new, pod, plugged)
                guest_agent.report(new, said, self._launchers.kernel_release)

            await self._store.update(VMIS, key_of(vmi), change, uid=uid_of(vmi))

    def _may_say_more(self, key: StoreKey) -> bool:
        vmi = self._store.get(VMIS, key)
        if vmi is None or going(vmi) or phase(vmi) != "Running" or migration_in_progress(vmi):
            return False
        return not guest_agent.complete(vmi)

    def _dismiss(self, vmi: Object, pods: list[Object]) -> None:
        """Launchers whose guest has ended end, too; a migration's source only when all is written."""
        if self.kubelet is None or migration_in_progress(vmi):
            return
        latest = self._store.get(VMIS, key_of(vmi)) or vmi
        current = current_pod(latest, pods)
        for pod in pods:
            record = self._sandboxes.get(uid_of(pod))
            if record is None or record.guest is None or final(pod):
                continue
            if current is not None and uid_of(current) != record.uid:
                self.kubelet.launcher_exited(record, _exit_code(latest, pod))
            elif final(latest):
                self.kubelet.launcher_exited(record, record.guest)


def _patience(vmi: Object) -> float:
    """How long a guest may take to end after its power button was pressed."""
    return float(min(POWER_DOWN_SECONDS, vmi["spec"].get("terminationGracePeriodSeconds", POWER_DOWN_SECONDS)))


def _exit_code(vmi: Object, pod: Object) -> int:
    """Of a launcher without the guest: only one that never saw a guest, because a migration failed early, fails."""
    state = vmi["status"].get("migrationState") or {}
    failed = state.get("failed") and state.get("targetPod") == pod["metadata"]["name"]
    return 2 if failed and not state.get("targetNodeDomainDetected") else 0


def _can_migrate(vmi: Object) -> None:
    status = vmi["status"]
    for kind in MIGRATABLE:
        times = {"lastProbeTime": None, "lastTransitionTime": None}
        put(status.setdefault("conditions", []), {"type": kind, "status": "True", **times})
    status["migrationMethod"] = "BlockMigration" if vmi["spec"].get("volumes") else "LiveMigration"
    status["selinuxContext"] = "none"


def _not_synchronized(vmi: Object, why: str) -> None:
    said = {"type": SYNCHRONIZED, "status": "False", "reason": "Synchronizing with the Domain failed."}
    message = f'server error. command SyncVMI failed: "{why}"'
    put(vmi["status"].setdefault("conditions", []), {**said, "message": message, "lastTransitionTime": now()})


def _running(vmi: Object, pod: Object, plugged: Container[str]) -> None:
    if final(vmi):
        return
    vmi["status"]["conditions"] = [one for one in vmi["status"].get("conditions", ()) if one["type"] != SYNCHRONIZED]
    vmi["status"]["interfaces"] = interfaces.running(vmi, pod, plugged)
    vmi["status"]["machine"] = {"type": MACHINE}
    for number, volume in enumerate(vmi["status"].get("volumeStatus", ())):
        volume["target"] = f"vd{chr(ord('a') + number)}"
    enter(vmi["status"], "Running")

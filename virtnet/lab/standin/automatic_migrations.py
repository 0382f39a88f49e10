"""Migrations that KubeVirt starts itself: by virt-controller's workload updater, and its evacuation; e3, e4, d1.

An evacuation is asked for by virt-api, which answers the eviction of a launcher pod with ``status.evacuationNodeName``.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from virtnet.kube.kinds import PODS, VMIMS, VMIS
from virtnet.lab.standin.conditions import find, is_true
from virtnet.lab.standin.kubevirt import API, Object, final, phase
from virtnet.lab.standin.live_update import MIGRATION_REQUIRED, since
from virtnet.lab.standin.store import Store, StoreKey, going, key_of, uid_of
from virtnet.lab.standin.vmis import current_pod, pods_of
from virtnet.lab.standin.worker import Again, Worker

UPDATE_SECONDS = 5.0
"""The workload updater looks so often."""

BACKOFF = timedelta(seconds=20)
"""After a failure; doubled with each further one."""

EVICTING = "descheduler.alpha.kubernetes.io/eviction-in-progress"


@dataclass(frozen=True)
class Cause:
    """Why a migration is started, as its object tells."""

    name: str
    annotation: str
    said: str


class AutomaticMigrations:
    """Handles one VMI sequentially; told of its migrations, for one begins when the other has ended."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.worker: Worker[StoreKey] = Worker("automatic-migrations", self._sync)
        store.on_change(VMIS, lambda key, vmi: self.worker.nudge(key))
        store.on_change(VMIMS, lambda key, vmim: self.worker.nudge((key[0], vmim["spec"]["vmiName"])))

    async def _sync(self, key: StoreKey) -> None:
        vmi = self._store.get(VMIS, key)
        cause = cause_of(vmi) if vmi and not going(vmi) else None
        if vmi is None or cause is None:
            return
        theirs = [
            vmim
            for vmim in self._store.all(VMIMS)
            if (vmim["metadata"]["namespace"], vmim["spec"]["vmiName"]) == key
            and vmim["metadata"]["creationTimestamp"] >= vmi["metadata"]["creationTimestamp"]
        ]
        if not all(map(final, theirs)):
            return
        left = max(delay(vmi, cause), backoff(theirs, cause))
        if left > timedelta():
            raise Again(left.total_seconds())
        await self._store.create(VMIMS, body_of(vmi, cause))
        source = current_pod(vmi, pods_of(self._store, vmi))
        if cause.name == "evacuation" and source is not None:
            await self._store.update(PODS, key_of(source), _evicting, uid=uid_of(source))


def cause_of(vmi: Object) -> Cause | None:
    """Why a VMI is to be migrated now; None where nothing asks for it."""
    status = vmi["status"]
    if phase(vmi) != "Running" or not is_true(status.get("conditions", ()), "LiveMigratable"):
        return None
    if (node := status.get("evacuationNodeName")) and node == status.get("nodeName"):
        return Cause("evacuation", "kubevirt.io/evacuationMigration", node)
    if is_true(status["conditions"], MIGRATION_REQUIRED):
        return Cause("workload-update", "kubevirt.io/workloadUpdateMigration", "")
    return None


def delay(vmi: Object, cause: Cause) -> timedelta:
    """How long until it is looked at."""
    condition = find(vmi["status"]["conditions"], MIGRATION_REQUIRED)
    if cause.name == "evacuation" or condition is None:
        return timedelta()
    return timedelta(seconds=UPDATE_SECONDS) - since(condition)


def backoff(migrations: list[Object], cause: Cause) -> timedelta:
    """How long to wait, after as many failures of this cause as came last. All of ``migrations`` have ended."""
    ended = sorted((_ended(one), phase(one)) for one in migrations if cause.annotation in _annotations(one))
    failures = 0
    for _, outcome in reversed(ended):
        if outcome != "Failed":
            break
        failures += 1
    if not failures:
        return timedelta()
    backoff: timedelta = BACKOFF * 2 ** (failures - 1)
    return datetime.fromisoformat(ended[-1][0]) + backoff - datetime.now(UTC)


def _ended(vmim: Object) -> str:
    found: str = vmim["status"]["phaseTransitionTimestamps"][-1]["phaseTransitionTimestamp"]
    return found


def _annotations(vmim: Object) -> Object:
    return vmim["metadata"].get("annotations") or {}


def body_of(vmi: Object, cause: Cause) -> Object:
    """The body of the migration."""
    namespace, name = key_of(vmi)
    return {
        "apiVersion": API,
        "kind": "VirtualMachineInstanceMigration",
        "metadata": {
            "generateName": f"kubevirt-{cause.name}-",
            "namespace": namespace,
            "annotations": {cause.annotation: cause.said},
        },
        "spec": {"vmiName": name},
    }


def _evicting(pod: Object) -> None:
    pod["metadata"].setdefault("annotations", {})[EVICTING] = "true"

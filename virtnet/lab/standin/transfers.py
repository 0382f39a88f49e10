"""Both virt-handlers of a migration: the guest's way from one QEMU to the other, and what is written about it when."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from virtnet.kube.kinds import VMIS
from virtnet.lab.standin import migration_state as states
from virtnet.lab.standin.domain import BadDomain
from virtnet.lab.standin.hook_sidecars import SidecarFailed
from virtnet.lab.standin.kubevirt import Object, migration_in_progress, phase
from virtnet.lab.standin.launchers import Launchers
from virtnet.lab.standin.qmp import QmpError
from virtnet.lab.standin.sandboxes import Sandboxes
from virtnet.lab.standin.settings import StandinSettings
from virtnet.lab.standin.store import Store, StoreKey, going, key_of, uid_of
from virtnet.lab.standin.switchover import Switchover, SwitchoverFailed, arrived, cancel, move
from virtnet.lab.standin.ways import Way, way_of

log = structlog.get_logger()

POLL = 0.1
"""virt-launcher looks each 100 ms whether libvirt has moved the domain; what depends on that comes later."""

StatusPatch = Callable[[Object, str], None]


@dataclass(frozen=True)
class Transfer:
    """One that was handed off."""

    uid: str
    vmi: StoreKey
    vmi_uid: str
    source: Object
    target: Object


class Transfers:
    """At most one per VMI, each in a task of its own."""

    def __init__(self, store: Store, settings: StandinSettings, sandboxes: Sandboxes, launchers: Launchers) -> None:
        self._store = store
        self._settings = settings
        self._sandboxes = sandboxes
        self._launchers = launchers
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._listeners: list[Callable[[StoreKey], None]] = []

    def on_end(self, listener: Callable[[StoreKey], None]) -> None:
        self._listeners.append(listener)

    def running(self, uid: str) -> bool:
        return uid in self._tasks

    async def advance(self, vmi: Object, pods: list[Object]) -> None:
        """Take the step that the VMI's migrationState asks for."""
        state = migration_in_progress(vmi)
        if state is None:
            await self._clean_up(vmi, pods)
            return
        by_name = {pod["metadata"]["name"]: pod for pod in pods}
        source, target = by_name.get(state["sourcePod"]), by_name.get(state["targetPod"])
        if source is None or target is None or going(vmi):
            return
        migration = Transfer(state["migrationUid"], key_of(vmi), uid_of(vmi), source, target)
        if self.running(migration.uid):
            if state.get("abortRequested"):
                await self._cancel(migration)
        elif state.get("abortRequested") and not state.get("startTimestamp"):
            await self._write(migration, lambda new, uid: states.failed(new, uid, states.ABORTED))
        elif not state.get("targetNodeAddress"):
            await self._prepare(migration, vmi)
        else:
            self._tasks[migration.uid] = asyncio.create_task(self._run(migration))

    async def _prepare(self, migration: Transfer, vmi: Object) -> None:
        record = self._sandboxes.get(uid_of(migration.target))
        if record is None or not record.complete or phase(migration.target) != "Running":
            return
        source = self._sandboxes.get(uid_of(migration.source))
        if source is None:
            return
        try:
            await self._launchers.start(record, vmi, migration.target, source=source)
        except (SwitchoverFailed, SidecarFailed, BadDomain) as problem:
            reason = str(problem)
            await self._write(migration, lambda new, uid: states.failed(new, uid, reason))
            return
        address = self._settings.nodes[record.node].address
        await self._write(migration, lambda new, uid: states.prepared(new, uid, address))

    async def _cancel(self, migration: Transfer) -> None:
        source = self._launchers.get(uid_of(migration.source))
        if source is not None:
            await cancel(source)

    async def _run(self, migration: Transfer) -> None:
        try:
            await self._transfer(migration)
        except (SwitchoverFailed, QmpError) as problem:
            reason = str(problem)
            log.warning("migration failed", uid=migration.uid, reason=reason)
            await self._write(migration, lambda new, uid: None if going(new) else states.failed(new, uid, reason))
        finally:
            del self._tasks[migration.uid]
            for listener in self._listeners:
                listener(migration.vmi)

    async def _transfer(self, migration: Transfer) -> None:
        await self._write(migration, states.started)
        source = self._launchers.get(uid_of(migration.source))
        target = self._launchers.get(uid_of(migration.target))
        if target is None:
            raise SwitchoverFailed("the target's QEMU is gone")
        way = way_of(self._store, migration.uid)
        detected = self._write(migration, states.detected)
        switchover = await move(source, target, way=way, while_moving=detected)
        if way is Way.POST_COPY:
            await self._write(migration, states.switched)
        await self._write(migration, states.domain_ready)
        if way is Way.POST_COPY and source is not None:
            await arrived(source)
        log.info("guest moved", uid=migration.uid, pause_ms=switchover.pause_ms)
        self._record(migration, switchover)
        tick = asyncio.create_task(asyncio.sleep(POLL))
        if source is not None:
            await source.quit()
        await tick
        await self._write(migration, states.moved)
        await self._write(migration, states.completed)

    def _record(self, migration: Transfer, switchover: Switchover) -> None:
        """For whoever measures: when the guest stood still, to the microsecond."""
        path = self._settings.migration_record(migration.uid)
        path.parent.mkdir(parents=True, exist_ok=True)
        said = {
            "stop": switchover.stop,
            "resume": switchover.resume,
            "pause_ms": switchover.pause_ms,
            "source": migration.source["spec"]["nodeName"],
            "target": migration.target["spec"]["nodeName"],
            "source_pod": migration.source["metadata"]["name"],
            "target_pod": migration.target["metadata"]["name"],
        }
        half = path.with_suffix(".part")
        half.write_text(json.dumps(said))
        half.rename(path)

    async def _clean_up(self, vmi: Object, pods: list[Object]) -> None:
        """After the end, whichever it was."""
        state = vmi["status"].get("migrationState") or {}
        if not state:
            return
        await self._store.update(VMIS, key_of(vmi), states.no_target, uid=uid_of(vmi))
        if state.get("failed"):
            target = next((pod for pod in pods if pod["metadata"]["name"] == state["targetPod"]), None)
            record = self._sandboxes.get(uid_of(target)) if target else None
            if record is not None:
                await self._launchers.stop(record)

    async def _write(self, migration: Transfer, change: StatusPatch) -> None:
        await self._store.update(VMIS, migration.vmi, lambda vmi: change(vmi, migration.uid), uid=migration.vmi_uid)

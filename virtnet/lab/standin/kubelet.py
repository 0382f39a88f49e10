"""Every node's kubelet, with Multus: gives pods their network namespaces and NICs, and takes them away again."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial

import structlog

from virtnet.kube.errors import NotFound
from virtnet.kube.kinds import NADS, PODS
from virtnet.lab.standin import pod_status
from virtnet.lab.standin.device_manager import DeviceManager
from virtnet.lab.standin.devices import NoDevices, dealt
from virtnet.lab.standin.kubevirt import NETWORK_STATUS, Object, final, is_launcher, phase
from virtnet.lab.standin.multus import (
    BadSelection,
    Device,
    PluginError,
    PodNic,
    chosen,
    deal,
    network_status,
    nic_of,
    resource_of,
)
from virtnet.lab.standin.sandboxes import Sandboxes, SandboxRecord
from virtnet.lab.standin.settings import StandinSettings
from virtnet.lab.standin.sidecar_container import requested
from virtnet.lab.standin.store import Store, going, key_of, uid_of
from virtnet.lab.standin.ways import follows_networks
from virtnet.lab.standin.worker import Again, Worker

log = structlog.get_logger()

PodKey = tuple[str, str, str]
"""Namespace, name and uid."""

LONGEST_BACKOFF = 60.0
RELIST_SECONDS = 1.0

KILLED = 137
"""How a process ends that had no say in it."""

StopLauncher = Callable[[SandboxRecord], Awaitable[None]]


class Kubelet:
    """One for all nodes. ``stop_launcher`` ends what runs in a launcher pod, and returns when it has ended."""

    def __init__(
        self,
        store: Store,
        settings: StandinSettings,
        sandboxes: Sandboxes,
        devices: Mapping[str, DeviceManager],
        stop_launcher: StopLauncher,
    ) -> None:
        """``devices``: by node."""
        self._store = store
        self._settings = settings
        self._sandboxes = sandboxes
        self._devices = devices
        self._admitting = asyncio.Lock()
        self._stop_launcher = stop_launcher
        self._failures: dict[str, int] = {}
        self.worker: Worker[PodKey] = Worker("kubelet", self._sync)
        store.on_change(PODS, lambda key, pod: self.worker.nudge((*key, uid_of(pod))))
        for record in sandboxes:
            self.worker.nudge((record.namespace, record.name, record.uid))

    def launcher_exited(self, record: SandboxRecord, code: int) -> None:
        """The launcher of a pod has ended by itself."""
        if record.exited is None:
            record.exited = code
            self._sandboxes.save(record)
            self.worker.nudge((record.namespace, record.name, record.uid))

    async def _sync(self, key: PodKey) -> None:
        namespace, name, uid = key
        pod, record = self._store.get(PODS, (namespace, name)), self._sandboxes.get(uid)
        if pod is None or uid_of(pod) != uid:
            if record:  # deleted by force, or while nobody looked
                await self._tear_down(record, stop=True)
                self._sandboxes.drop(record)
        elif not pod["spec"].get("nodeName"):
            if going(pod):
                await self._forget(pod)
        elif going(pod):
            await self._end(pod, record)
        elif final(pod):
            if record and record.container:
                await self._tear_down(record, stop=True)
        elif record and record.exited is not None:
            await self._complete(pod, record)
        else:
            await self._run(pod, record)

    async def _run(self, pod: Object, record: SandboxRecord | None) -> None:
        if record is None:
            record = await self._admit(pod)
        if record is None:
            return
        if not pod["status"].get("startTime"):
            node = self._settings.nodes[pod["spec"]["nodeName"]]
            await self._status(pod, lambda new: pod_status.accepted(new, node))
        if not record.complete or (self._lost(record) and not record.launcher):
            record = await self._set_up(pod, record)
        if not record.launcher:
            self._sandboxes.hold(record)
        elif requested(pod):
            self._sandboxes.sidecar(record).start()
        if phase(pod) != "Running":
            address = address_of(pod, self._settings)
            await self._annotate(pod, network_status(address, record.nics))
            await self._status(pod, lambda new: pod_status.running(new, address))
            await self._status(pod, pod_status.ready)
        else:
            await self._status(pod, pod_status.gates)
            await self._follow_networks(pod, record)

    async def _admit(self, pod: Object) -> SandboxRecord | None:
        """The record of a pod that gets what it asks for; None for one that has failed for that."""
        async with self._admitting:
            try:
                devices = await self._devices[pod["spec"]["nodeName"]].allot(pod)
            except NoDevices as lacking:
                problem = str(lacking)
                log.warning("not admitted", pod=pod["metadata"]["name"], problem=problem)
                await self._status(pod, lambda new: pod_status.refused(new, problem))
                return None
            return self._sandboxes.admit(pod, devices, launcher=is_launcher(pod))

    def _lost(self, record: SandboxRecord) -> bool:
        """Whether the pod's sandbox went with its node."""
        return record.complete and bool(record.container) and not self._sandboxes.there(record)

    async def relist(self) -> None:
        """Look for ever for pods that have lost their sandboxes: they begin anew, or end if they are launchers."""
        while True:
            await asyncio.sleep(RELIST_SECONDS)
            for record in self._sandboxes:
                if self._lost(record) and record.launcher:
                    self.launcher_exited(record, KILLED)
                elif self._lost(record):
                    self.worker.nudge((record.namespace, record.name, record.uid))

    async def _set_up(self, pod: Object, record: SandboxRecord) -> SandboxRecord:
        """A sandbox with all NICs. What a failed or interrupted attempt left is removed before the next one."""
        await self._tear_down(record, stop=True)
        record = await self._sandboxes.open(record)
        try:
            for _, make in self._nics(pod, record):
                await self._sandboxes.attach(record, make())
        except (BadSelection, PluginError) as problem:
            await self._failed(pod, record, str(problem))
        record.complete = True
        self._sandboxes.save(record)
        self._failures.pop(record.uid, None)
        return record

    async def _follow_networks(self, pod: Object, record: SandboxRecord) -> None:
        """What the dynamic-networks-controller does for a running pod: plug in and out what its selection says."""
        if not follows_networks(pod):
            return
        wanted = dict(self._nics(pod, record))
        changed = False
        for nic in record.nics[:]:
            if nic.interface not in wanted or nic.result is None:
                await self._sandboxes.detach(record, nic.interface)
                changed = True
        for interface, make in wanted.items():
            if record.nic(interface) is None:
                await self._sandboxes.attach(record, make())
                changed = True
        if changed:
            await self._annotate(pod, network_status(address_of(pod, self._settings), record.nics))

    def _nics(self, pod: Object, record: SandboxRecord) -> Iterator[tuple[str, Callable[[], PodNic]]]:
        """What a pod asks for: each interface, and its NIC as it is to be made. Raises BadSelection, both do."""
        selections = chosen(pod)
        nads = [self._store.get(NADS, (one.namespace, one.name)) for one in selections]
        resources = [*map(resource_of, nads)]
        devices = map(Device, resources, deal(resources, dealt(record.devices)))
        for selection, nad, device in zip(selections, nads, devices, strict=True):
            yield selection.interface, partial(nic_of, selection, nad, record.container, device)

    async def _failed(self, pod: Object, record: SandboxRecord, problem: str) -> None:
        message = f"Failed to create pod sandbox: {problem}"
        log.warning("no sandbox", pod=record.name, problem=problem)
        await self._store.server.event(
            pod, reason="FailedCreatePodSandBox", message=message, warning=True, component="lab-kubelet"
        )
        await self._tear_down(record, stop=True)
        count = self._failures.get(record.uid, 0)
        self._failures[record.uid] = count + 1
        raise Again(min(2.0**count, LONGEST_BACKOFF))

    async def _complete(self, pod: Object, record: SandboxRecord) -> None:
        code = record.exited or 0
        self._free(record)
        await self._status(pod, lambda new: pod_status.ended(new, code))
        await self._tear_down(record, stop=True)

    async def _end(self, pod: Object, record: SandboxRecord | None) -> None:
        """A deleted pod: its processes, its NICs, its phase, its namespace, and then the object itself."""
        if record:
            await self._tear_down(record, stop=True)
            self._free(record)
        if not final(pod):
            code = (record.exited if record else None) or 0
            await self._status(pod, lambda new: pod_status.ended(new, code))
        await self._forget(pod)
        if record:
            self._sandboxes.drop(record)

    async def _forget(self, pod: Object) -> None:
        try:
            await self._store.server.forget(pod)
        except NotFound:
            return

    def _free(self, record: SandboxRecord) -> None:
        """Others may have the devices of a pod that has ended, also before its NICs are gone."""
        record.devices = {}
        self._sandboxes.save(record)

    async def _tear_down(self, record: SandboxRecord, *, stop: bool) -> None:
        if stop and record.launcher and record.container:
            await self._stop_launcher(record)
        await self._sandboxes.close(record)
        record.container = ""
        self._sandboxes.save(record)

    async def _status(self, pod: Object, change: Callable[[Object], None]) -> None:
        await self._store.update(PODS, key_of(pod), change, subresource="status", uid=uid_of(pod))

    async def _annotate(self, pod: Object, text: str) -> None:
        def change(new: Object) -> None:
            new["metadata"].setdefault("annotations", {})[NETWORK_STATUS] = text

        await self._store.update(PODS, key_of(pod), change, uid=uid_of(pod))


def address_of(pod: Object, settings: StandinSettings) -> str:
    """The podIP. No lab has the network it belongs to; it is only there because pods have one."""
    number = settings.nodes[pod["spec"]["nodeName"]].number
    return f"10.244.{number}.{hashlib.sha256(uid_of(pod).encode()).digest()[0] % 250 + 2}"

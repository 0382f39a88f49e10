"""The virt-launchers: one QEMU in every launcher pod, started, found again, and watched until it ends."""

import asyncio
from collections import defaultdict
from collections.abc import Callable

import structlog

from virtnet.api.names import pod_interface
from virtnet.lab.standin.binding import Wire, bind, unbind
from virtnet.lab.standin.containers import size
from virtnet.lab.standin.guest_agent import Said
from virtnet.lab.standin.hotplug import absent
from virtnet.lab.standin.kubevirt import Object, pod_nic
from virtnet.lab.standin.multus import chosen
from virtnet.lab.standin.objects import guest_memory
from virtnet.lab.standin.qemu import Boot, Qemu
from virtnet.lab.standin.qmp import QmpError
from virtnet.lab.standin.sandboxes import Record, Sandboxes
from virtnet.lab.standin.settings import Settings
from virtnet.lab.standin.slots import Slots

log = structlog.get_logger()

Exited = Callable[[Record], None]


class Launchers:
    """By pod uid. Whether the end of one was orderly is kept until somebody has asked."""

    def __init__(self, settings: Settings, sandboxes: Sandboxes) -> None:
        self._settings = settings
        self._sandboxes = sandboxes
        self._running: dict[str, Qemu] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._watchers: set[asyncio.Task[None]] = set()
        self._listeners: list[Exited] = []
        self.boot = Boot(settings.kernel, settings.initrd, settings.cmdline)

    def on_exit(self, listener: Exited) -> None:
        self._listeners.append(listener)

    def get(self, uid: str) -> Qemu | None:
        return self._running.get(uid)

    @property
    def kernel_release(self) -> str:
        """What ``uname -r`` says in the guests."""
        return self.boot.kernel.parent.name.removeprefix("kernel-")

    def said(self, record: Record) -> Said:
        """What a pod's guest has said on its console."""
        console = Qemu(self._settings.pod_state(record.uid), record.netns).console
        return Said.on(console.read_text(errors="replace") if console.exists() else "")

    async def adopt(self) -> None:
        """Find the QEMUs that an earlier stand-in has left; those that have ended meanwhile are reported."""
        for record in self._sandboxes:
            directory = self._settings.pod_state(record.uid)
            if not record.launcher or record.guest is not None or not (directory / "qemu.pid").exists():
                continue
            qemu = Qemu(directory, record.netns)
            try:
                await qemu.connect()
            except QmpError as problem:
                log.warning("a guest is gone", pod=record.name, problem=str(problem))
                self._ended(record, 2)
            else:
                log.info("found a guest", pod=record.name)
                self._keep(record, qemu)

    async def start(self, record: Record, vmi: Object, pod: Object, *, source: Record | None = None) -> Qemu:
        """The pod's guest, started unless it runs; where it has a source, it waits to come from there.

        Raises CommandError, QmpError; also when it was stopped for good.
        """
        async with self._locks[record.uid]:
            if found := self.get(record.uid):
                return found
            if record.guest is not None:
                raise QmpError(f"the launcher of {record.name} has ended")
            wires = [await bind(record.netns, *nic) for nic in _nics(record, vmi, pod)]
            qemu = Qemu(self._settings.pod_state(record.uid), record.netns)
            await self._start(qemu, vmi, wires, source)
            self._keep(record, qemu)
            return qemu

    async def follow(self, record: Record, vmi: Object, pod: Object) -> None:
        """Plug in what the pod has got since, unplug what it is to lose. Raises CommandError, QmpError."""
        async with self._locks[record.uid]:
            qemu = self.get(record.uid)
            if qemu is None:
                return
            wanted = {network: (interface, network, mac) for interface, network, mac in _nics(record, vmi, pod)}
            for network in set(qemu.slots.taken) - set(wanted):
                await qemu.unplug(network)
                await unbind(record.netns, pod_interface(network))
            for network in set(wanted) - set(qemu.slots.taken):
                await qemu.plug(await bind(record.netns, *wanted[network]))

    def plugged(self, record: Record) -> set[str]:
        """The networks that a pod's guest has a NIC in."""
        qemu = self.get(record.uid)
        return set(qemu.slots.taken) if qemu else set()

    async def _start(self, qemu: Qemu, vmi: Object, wires: list[Wire], source: Record | None) -> None:
        memory = size(guest_memory(vmi["spec"]))
        if source is None:
            slots = Slots.of(wire.network for wire in wires)
        else:
            slots = Slots.load(self._settings.pod_state(source.uid))
        name = vmi["metadata"]["name"]
        await qemu.start(name, memory, wires, self.boot, slots=slots, incoming=source is not None)

    async def stop(self, record: Record, seconds: float = 0) -> None:
        """End a pod's guest for good, with the power button if it is given time; one that is just starting, too."""
        async with self._locks[record.uid]:
            qemu = self._running.pop(record.uid, None)
            if qemu is not None and seconds:
                await qemu.power_down(seconds)
            elif qemu is not None:
                await qemu.quit()
            if record.guest is None:
                record.guest = 0
                self._sandboxes.save(record)

    async def close(self) -> None:
        """Leave all guests running."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        for qemu in self._running.values():
            await qemu.detach()

    def _keep(self, record: Record, qemu: Qemu) -> None:
        self._running[record.uid] = qemu
        watcher = asyncio.create_task(self._watch(record, qemu))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    async def _watch(self, record: Record, qemu: Qemu) -> None:
        await qemu.qmp.closed.wait()
        self._running.pop(record.uid, None)
        orderly = qemu.quitting or qemu.qmp.find(lambda event: event["event"] == "SHUTDOWN") is not None
        log.info("a guest has ended", pod=record.name, orderly=orderly)
        self._ended(record, 0 if orderly else 2)

    def _ended(self, record: Record, code: int) -> None:
        record.guest = code
        self._sandboxes.save(record)
        for listener in self._listeners:
            listener(record)


def _nics(record: Record, vmi: Object, pod: Object) -> list[tuple[str, str, str]]:
    """Pod interface, network and guest MAC of every NIC that a CNI plugin has made for this VMI."""
    interfaces = {one["name"]: one for one in vmi["spec"]["domain"]["devices"].get("interfaces", ())}
    selected = {one.interface: one for one in chosen(pod)}
    found, leaving = [], absent(vmi["spec"])
    for network in vmi["spec"].get("networks", ()):
        nic = record.nic(pod_nic(network))
        if nic is None or nic.result is None or nic.interface not in selected or network["name"] in leaving:
            continue
        made = next((one.get("mac", "") for one in (nic.result or {}).get("interfaces", ()) if one.get("sandbox")), "")
        asked = interfaces.get(network["name"], {}).get("macAddress") or selected[nic.interface].mac
        found.append((nic.interface, network["name"], asked or made))
    return found

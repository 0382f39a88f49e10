"""The virt-launchers: one QEMU in every launcher pod, started, found again, and watched until it ends."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial

import structlog

from virtnet.api.names import pod_interface
from virtnet.api.vhostuser import LAUNCHER_VOLUME
from virtnet.lab.standin import domain, hook_sidecars
from virtnet.lab.standin.binding import bind, unbind
from virtnet.lab.standin.containers import size
from virtnet.lab.standin.domain import Domain
from virtnet.lab.standin.guest_agent import Said
from virtnet.lab.standin.hotplug import absent, offered
from virtnet.lab.standin.kubevirt import Object, pod_nic, vhost_user
from virtnet.lab.standin.multus import chosen
from virtnet.lab.standin.objects import guest_memory
from virtnet.lab.standin.qemu import Boot, Machine, Qemu
from virtnet.lab.standin.qmp import QmpError
from virtnet.lab.standin.sandboxes import Sandboxes, SandboxRecord
from virtnet.lab.standin.settings import StandinSettings
from virtnet.lab.standin.sidecar_container import requested
from virtnet.lab.standin.slots import Slots
from virtnet.lab.standin.switchover import SwitchoverFailed
from virtnet.lab.standin.wires import Wire

log = structlog.get_logger()

Exited = Callable[[SandboxRecord], None]


class Launchers:
    """By pod uid. Whether the end of one was orderly is kept until somebody has asked."""

    def __init__(self, settings: StandinSettings, sandboxes: Sandboxes) -> None:
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

    def said(self, record: SandboxRecord) -> Said:
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

    async def start(
        self, record: SandboxRecord, vmi: Object, pod: Object, *, source: SandboxRecord | None = None
    ) -> Qemu:
        """The pod's guest, started unless it runs; where it has a source, it waits to come from there.

        Raises CommandError, QmpError; also when it was stopped for good. Raises SidecarFailed and BadDomain where the
        pod's sidecar does not serve it, and SwitchoverFailed where the pod lacks a NIC that the source's guest has.
        """
        async with self._locks[record.uid]:
            if found := self.get(record.uid):
                return found
            if record.guest is not None:
                raise QmpError(f"the launcher of {record.name} has ended")
            nics = _nics(record, vmi, pod)
            slots = Slots.of(network for _, network, _ in nics)
            defined = await self._defined(record, vmi, pod)
            if source is not None:  # the guest has what it has, whatever the VMI, the pod and its sidecar say by now
                slots = Slots.load(self._settings.pod_state(source.uid))
                nics = _made(record, vmi, pod, slots.taken)
                defined = domain.load(self._settings.pod_state(source.uid))
            domain.save(defined, self._settings.pod_state(record.uid))
            qemu = Qemu(self._settings.pod_state(record.uid), record.netns)
            machine = await self._machine(record, vmi, nics, slots, Domain.parse(defined))
            await qemu.start(machine, self.boot, incoming=source is not None)
            self._keep(record, qemu)
            return qemu

    async def _defined(self, record: SandboxRecord, vmi: Object, pod: Object) -> bytes:
        """The domain as the pod's sidecar would have it. Raises SidecarFailed."""
        plain = domain.domain_xml(vmi["metadata"]["name"], size(guest_memory(vmi["spec"])))
        if not requested(pod):
            return plain
        sidecar = self._sandboxes.sidecar(record)
        sidecar.tell(_network_info(record, vmi))
        return await hook_sidecars.define(sidecar.sockets, 1, plain, json.dumps(vmi).encode())

    async def _machine(
        self, record: SandboxRecord, vmi: Object, nics: list[tuple[str, str, str]], slots: Slots, of: Domain
    ) -> Machine:
        """Raises CommandError."""
        made: dict[str, Wire] = {wire.network: wire for wire in of.wires}
        wires = [made.get(nic[1]) or await bind(record.netns, *nic) for nic in nics]
        shared = self._settings.empty_dir(record.node, record.uid, LAUNCHER_VOLUME) if of.shared_memory else None
        return Machine(vmi["metadata"]["name"], size(guest_memory(vmi["spec"])), wires, slots, shared)

    async def follow(self, record: SandboxRecord, vmi: Object, pod: Object) -> None:
        """Plug in what the pod has got since, unplug what it is to lose, and set links up or down.

        Raises CommandError, QmpError.
        """
        async with self._locks[record.uid]:
            qemu = self.get(record.uid)
            if qemu is None:
                return
            wanted = {network: (interface, network, mac) for interface, network, mac in _nics(record, vmi, pod)}
            fixed = vhost_user(vmi)  # KubeVirt neither plugs them nor unplugs them
            for network in set(qemu.slots.taken) - set(wanted) - fixed:
                await qemu.unplug(network)
                await unbind(record.netns, pod_interface(network))
            for network in (wanted.keys() & offered(vmi)) - set(qemu.slots.taken) - fixed:
                await qemu.plug(await bind(record.netns, *wanted[network]))
            for one in vmi["spec"]["domain"]["devices"].get("interfaces", ()):
                if one["name"] in wanted:
                    await qemu.link(one["name"], up=one.get("state") != "down")

    def plugged(self, record: SandboxRecord) -> set[str]:
        """The networks that a pod's guest has a NIC in."""
        qemu = self.get(record.uid)
        return set(qemu.slots.taken) if qemu else set()

    async def stop(self, record: SandboxRecord, seconds: float = 0) -> None:
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

    def _keep(self, record: SandboxRecord, qemu: Qemu) -> None:
        self._running[record.uid] = qemu
        watcher = asyncio.create_task(self._watch(record, qemu))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    async def _watch(self, record: SandboxRecord, qemu: Qemu) -> None:
        await qemu.qmp.closed.wait()
        self._running.pop(record.uid, None)
        orderly = qemu.quitting or qemu.qmp.find(lambda event: event["event"] == "SHUTDOWN") is not None
        log.info("a guest has ended", pod=record.name, orderly=orderly)
        self._ended(record, 0 if orderly else 2)

    def _ended(self, record: SandboxRecord, code: int) -> None:
        record.guest = code
        self._sandboxes.save(record)
        for listener in self._listeners:
            listener(record)


def _nics(record: SandboxRecord, vmi: Object, pod: Object) -> list[tuple[str, str, str]]:
    """Pod interface, network and guest MAC of every NIC that a CNI plugin has made for this VMI, and that stays."""
    selected, leaving = {one.interface for one in chosen(pod)}, absent(vmi["spec"])
    names = [one["name"] for one in vmi["spec"].get("networks", ()) if pod_nic(one) in selected]
    there = [name for name in names if name not in leaving]
    return [nic for nic in map(partial(_nic, record, vmi, pod), there) if nic is not None]


def _network_info(record: SandboxRecord, vmi: Object) -> list[Object]:
    """What KubeVirt 1.9 tells a sidecar of the pod's NICs."""
    found = []
    for network in vmi["spec"].get("networks", ()):
        nic = record.nic(pod_nic(network))
        inside = [one for one in (nic.result or {}).get("interfaces", ()) if one.get("sandbox")] if nic else []
        if inside:
            said = {name: inside[-1][name] for name in ("mac", "mtu") if inside[-1].get(name)}
            found.append({"network": network["name"], **said})
    return found


def _made(record: SandboxRecord, vmi: Object, pod: Object, networks: Iterable[str]) -> list[tuple[str, str, str]]:
    """The same of just these networks. Raises SwitchoverFailed where one was not made."""
    found = {network: _nic(record, vmi, pod, network) for network in networks}
    if lacking := sorted(network for network, nic in found.items() if nic is None):
        raise SwitchoverFailed(f"pod {record.name} lacks NIC {', '.join(lacking)} of the guest")
    return [nic for nic in found.values() if nic is not None]


def _nic(record: SandboxRecord, vmi: Object, pod: Object, name: str) -> tuple[str, str, str] | None:
    interfaces = {one["name"]: one for one in vmi["spec"]["domain"]["devices"].get("interfaces", ())}
    network = next((one for one in vmi["spec"].get("networks", ()) if one["name"] == name), None)
    nic = record.nic(pod_nic(network)) if network else None
    if nic is None or nic.result is None or "sriov" in interfaces.get(name, {}):  # no guest here can have a VF
        return None
    selected = next((one.mac for one in chosen(pod) if one.interface == nic.interface), "")
    made = next((one.get("mac", "") for one in nic.result.get("interfaces", ()) if one.get("sandbox")), "")
    return nic.interface, name, interfaces.get(name, {}).get("macAddress") or selected or made

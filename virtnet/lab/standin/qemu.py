"""One virtual machine: a QEMU in its pod's network namespace, which outlives whoever started it."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from virtnet.api.vhostuser import LAUNCHER_SOCKETS
from virtnet.lab.daemon import Daemon
from virtnet.lab.standin.qmp import Qmp, QmpError, QmpEvent
from virtnet.lab.standin.slots import Slots
from virtnet.lab.standin.wires import TapWire, Wire

START_SECONDS = 20.0
PRESS_SECONDS = 1.0
UNPLUG_SECONDS = 20.0

ODD_KIBIBYTES = 8
"""Keeps the guest's memory from being a multiple of 256 KiB. Before 9.0, QEMU looks at such memory for changed pages in
a way that the emulation does not notice: pages written to during a migration are lost, and with them the rings of the
guest's NIC ("output.0:id 80 is not a head!", then silence for good), or the guest's kernel faults on one. Without it,
four pings a millisecond on a busy machine provoke such a guest within some tens of migrations.
"""


@dataclass(frozen=True)
class Boot:
    """What a guest starts with."""

    kernel: Path
    initrd: Path
    cmdline: str


@dataclass(frozen=True)
class Machine:
    """What differs between one guest's machine and another's."""

    name: str
    memory: int
    """In bytes."""
    wires: Sequence[Wire]
    slots: Slots
    shared: Path | None = None
    """Where the node has the directory in which QEMU makes sockets for switches, which then see the guest's memory."""


class Qemu:
    """Known by its directory: a later process finds it there."""

    def __init__(self, directory: Path, netns: str) -> None:
        self._directory = directory
        self._netns = netns
        self._qmp: Qmp | None = None
        self._links: dict[str, bool] = {}
        self.quitting = False
        """Whether its end was asked for."""

    @property
    def socket(self) -> Path:
        return self._directory / "qmp.sock"

    @property
    def incoming(self) -> Path:
        """Where a migration comes in."""
        return self._directory / "migration.sock"

    @property
    def console(self) -> Path:
        """What the guest has said on its serial line."""
        return self._directory / "serial.log"

    @property
    def alive(self) -> bool:
        return self._daemon().pid is not None

    @property
    def qmp(self) -> Qmp:
        """Raises QmpError before ``start`` or ``connect``."""
        if self._qmp is None:
            raise QmpError(f"not connected to {self.socket}")
        return self._qmp

    async def start(self, machine: Machine, boot: Boot, *, incoming: bool) -> None:
        """Start it, running or waiting for a migration. Raises QmpError with its last words when it does not start."""
        self.socket.unlink(missing_ok=True)
        self.incoming.unlink(missing_ok=True)
        machine.slots.save(self._directory)
        waiting = ("-incoming", f"unix:{self.incoming}") if incoming else ()
        self._daemon(
            *_own_directory(machine.shared),
            *("qemu-system-x86_64", "-name", f"guest={machine.name}", *_memory(machine)),
            *("-accel", "tcg", "-cpu", "max", "-smp", "1", "-nodefaults", "-no-user-config", "-display", "none"),
            *("-kernel", str(boot.kernel), "-initrd", str(boot.initrd)),
            *("-append", f"{boot.cmdline} virtnet.hostname={machine.name}"),
            *("-serial", f"file:{self.console}", "-qmp", f"unix:{self.socket},server=on,wait=off"),
            *machine.slots.arguments(),
            *(part for wire in machine.wires for part in _nic(machine.slots.taken[wire.network], wire)),
            *waiting,
        ).start()
        try:
            await self.connect()
        except QmpError:
            await asyncio.to_thread(self._daemon().stop, grace=1)  # one that waits for a switch would do so for ever
            raise
        await self.qmp.execute("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])

    @property
    def slots(self) -> Slots:
        """Where its NICs are."""
        return Slots.load(self._directory)

    async def plug(self, wire: TapWire) -> None:
        """Give the running guest a NIC. Raises QmpError."""
        slots = self.slots.plug(wire.network)
        number = slots.taken[wire.network]
        await self.qmp.execute("netdev_add", **wire.backend(f"net{number}"))
        try:
            await self.qmp.execute("device_add", bus=f"slot{number}", **_device(number, wire))
        except QmpError:
            await self.qmp.execute("netdev_del", id=f"net{number}")
            raise
        slots.save(self._directory)

    async def unplug(self, network: str) -> None:
        """Take a NIC from the running guest, and wait until it has let go. Raises QmpError."""
        number, seen = self.slots.taken[network], len(self.qmp.events)
        await self.qmp.execute("device_del", id=f"nic{number}")

        def gone(event: QmpEvent) -> bool:
            return bool(event["event"] == "DEVICE_DELETED" and event["data"].get("device") == f"nic{number}")

        try:
            await asyncio.wait_for(self.qmp.wait(gone, since=seen), UNPLUG_SECONDS)
        except TimeoutError:
            raise QmpError(f"the guest does not let go of its NIC in {network}") from None
        await self.qmp.execute("netdev_del", id=f"net{number}")
        self.slots.unplug(network).save(self._directory)
        self._links.pop(network, None)

    async def link(self, network: str, *, up: bool) -> None:
        """What the guest sees of its NIC's cable. Raises QmpError."""
        if self._links.get(network) is not up:
            await self.qmp.execute("set_link", name=f"nic{self.slots.taken[network]}", up=up)
            self._links[network] = up

    async def connect(self) -> None:
        """Raises QmpError when it has ended, or does not answer."""
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self._qmp = await Qmp.connect(self.socket)
            except QmpError:
                if not self.alive or time.monotonic() > end:
                    raise QmpError(f"QEMU in {self._netns} does not answer: {self._daemon().last_words()}") from None
                await asyncio.sleep(0.01)
            else:
                return

    async def quit(self) -> None:
        """End it at once; nothing if it has ended."""
        self.quitting = True
        try:
            await self.qmp.execute("quit")
            await self.qmp.closed.wait()
        except QmpError:
            pass  # it cannot be asked any more
        await asyncio.to_thread(self._daemon().stop, grace=1)

    async def power_down(self, seconds: float) -> None:
        """Press the power button, and pull the plug when the guest has not ended in time.

        Again and again: a guest that has only begun to boot does not notice.
        """
        self.quitting = True
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.qmp.closed.is_set():
            try:
                await self.qmp.execute("system_powerdown")
                await asyncio.wait_for(self.qmp.closed.wait(), min(PRESS_SECONDS, seconds))
            except TimeoutError:
                continue
            except QmpError:
                break  # it has ended meanwhile, or cannot be asked: `quit` sees to both
        await self.quit()

    async def detach(self) -> None:
        """Leave it running without us."""
        if self._qmp is not None:
            await self._qmp.close()

    def _daemon(self, *arguments: str) -> Daemon:
        command = ("ip", "netns", "exec", self._netns, *arguments)
        return Daemon("qemu", command, self._directory)


def _own_directory(shared: Path | None) -> tuple[str, ...]:
    """A command that shows QEMU the node's directory at a launcher's own path; nobody else sees it there."""
    if shared is None:
        return ()
    script = f'mkdir -p {LAUNCHER_SOCKETS} && mount --bind "$0" {LAUNCHER_SOCKETS} && exec "$@"'
    return "sh", "-c", script, str(shared)


def _memory(machine: Machine) -> tuple[str, ...]:
    size = f"size={machine.memory // 2**10 + ODD_KIBIBYTES}k"
    if machine.shared is None:
        return "-machine", "q35", "-m", size
    backend = ("-object", f"memory-backend-memfd,id=memory,{size},share=on")
    return *backend, "-machine", "q35,memory-backend=memory", "-m", size


def _nic(number: int, wire: Wire) -> tuple[str, ...]:
    name, device = f"net{number}", {**_device(number, wire), "bus": f"slot{number}"}
    backend = ("-netdev", json.dumps(wire.backend(name)))
    return *wire.arguments(name), *backend, "-device", json.dumps(device)


def _device(number: int, wire: Wire) -> dict[str, object]:
    card = {"driver": "virtio-net-pci", "romfile": "", **wire.properties()}
    return {"id": f"nic{number}", "netdev": f"net{number}", **card}

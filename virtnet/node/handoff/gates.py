"""Gates on the host's ends of NICs that await a migrating guest: nothing is let out to one until its guest is there.

The source's guest answers until it stops; without a gate the target's queue would hold all of that, and the guest would
answer it a second time. The guest opens the gate itself, within the kernel, by the first frame it sends; QEMU sends one
as soon as it goes on. Nobody else has the guest's MAC: the pod's end is silent.

A gate is a socket of this process (see nft.py): where the daemon dies or is replaced, gates are gone at once, and the
worst that comes of it are duplicates. So no gate is ever put up anew, and none has to be found after a crash.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from virtnet.api import HandoffPath, NodeHandoff, NodeHandoffStatus
from virtnet.node import nft
from virtnet.node.handoff.cut_over_marker import marker
from virtnet.node.handoff.gate_capture import GateCapture
from virtnet.node.handoff.geneve import PeerPort
from virtnet.node.handoff.keys import HandoffKeys
from virtnet.node.journal import Entry
from virtnet.node.netns import inside
from virtnet.node.request import AttachmentId

log = structlog.get_logger()

FORGOTTEN_SECONDS = 30.0
"""How long a gate stays shut for a handoff of which the controller says nothing."""

_ANY_MAC = "02:00:00:00:00:00"


@dataclass(eq=False)
class _Gate:
    port: str
    migration: str
    table: socket.socket
    """What keeps it shut."""
    capture: GateCapture
    since: float
    mac: str
    mtu: int
    assigned: bool = False
    """Whether the controller has assigned the handoff."""
    peer: PeerPort | None = None
    """The port on the source's node."""
    path: HandoffPath | None = None
    """As the controller has assigned it."""
    secret: str = ""
    """The handoff's, of this node and the source's."""
    connecting: bool = False
    """Whether ``peer`` is being made."""

    def send_marker(self) -> None:
        """Tell the source's node by the cut-over marker that the guest gets its frames here from now on, and which."""
        if self.peer is not None and self.capture.guest_seen:
            with contextlib.suppress(OSError):  # the device is gone: what was heard until then is true
                self.capture.read()
            frame = marker(self.mac, self.secret, self.capture.delivered, self.mtu)
            with contextlib.suppress(OSError):  # then nothing is drained
                # QEMU reads one frame ahead, be it the marker: the queue has the other one.
                self.peer.send(frame)
                self.peer.send(frame)

    def close(self) -> None:
        """Once there is nothing more to tell."""
        self.capture.close()
        if self.peer is not None:
            self.peer.close()


@dataclass
class Gates:
    """The gates of this node. Used from one event loop."""

    here: str
    """The node's network namespace, as a path."""
    keys: HandoffKeys
    local: Callable[[], str]
    """The address of this node's tunnels; empty where there are none of Geneve."""
    _shut: dict[AttachmentId, _Gate] = field(default_factory=dict)
    _opened: dict[tuple[str, str], datetime] = field(default_factory=dict)
    """When a guest has opened its gate, by port and migration."""
    _callbacks: list[Callable[[AttachmentId], None]] = field(default_factory=list)
    _listeners: list[Callable[[], None]] = field(default_factory=list)
    _removals: set[asyncio.Future[None]] = field(default_factory=set)

    async def obstacle(self) -> str:
        """Why there can be no gates on this node; empty when there can."""
        try:
            trial = await inside(self.here, lambda _: nft.gate("lo", _ANY_MAC, shut=False))
        except OSError as error:
            return f"the kernel takes no nftables gate (it needs egress hooks, Linux 5.16): {error.strerror}"
        await asyncio.to_thread(trial.close)
        return ""

    async def shut(self, entry: Entry, name: str) -> None:
        """Hold back what goes to the NIC by a link, given by its name, until its guest has sent something.

        Where that cannot be, say so and go on.
        """
        mac = entry.attachment.mac
        await self.forget(entry.id)

        def make() -> tuple[socket.socket, GateCapture]:
            capture = GateCapture.at(name, mac)
            try:
                return nft.gate(name, mac), capture
            except BaseException:
                capture.close()
                raise

        try:
            table, capture = await inside(self.here, lambda _: make())
        except OSError as error:
            log.warning("no gate: the guest may get frames twice", port=entry.attachment.port, error=str(error))
            return
        loop = asyncio.get_running_loop()
        self._shut[entry.id] = _Gate(
            entry.attachment.port, entry.migration, table, capture, loop.time(), mac, entry.attachment.mtu
        )
        loop.add_reader(capture.link, self._heard, entry.id)
        log.info("gate shut", port=entry.attachment.port, nic=str(entry.id))
        for callback in self._listeners:
            callback()

    async def forget(self, id_: AttachmentId) -> None:
        """Take the NIC's gate away, if it has one."""
        await self._remove(self._shut.pop(id_, None))

    async def follow(self, handoffs: Mapping[str, NodeHandoff]) -> None:
        """Open the gates of guests that are known to be here, and of handoffs that are over."""
        local = self.local()
        now = asyncio.get_running_loop().time()
        for id_, gate in list(self._shut.items()):
            part = handoffs.get(gate.port)
            current = part is not None and (part.migration, part.role) == (gate.migration, "Target")
            gate.assigned = gate.assigned or current
            path = part.path if current and part is not None else None
            if path is not None and path != gate.path and local:
                await self._connect(gate, path, local)
                if self._shut.get(id_) is not gate:  # its guest was heard meanwhile, with nobody to tell
                    gate.send_marker()
                    gate.close()
            if self._shut.get(id_) is not gate:
                continue
            early = not gate.assigned and now - gate.since < FORGOTTEN_SECONDS
            if not early and not (current and part is not None and not part.guest_running):
                log.info("gate opened, as assigned", port=gate.port, nic=str(id_))
                await self._remove(self._shut.pop(id_), arrived=current)

    @property
    def waiting(self) -> bool:
        """Whether any gate is shut, so that the controller's assignments are worth looking for."""
        return bool(self._shut)

    def statuses(self, handoffs: Mapping[str, NodeHandoff]) -> dict[str, NodeHandoffStatus]:
        """What the controller is to be told of handoffs to this node."""
        current = {(port, part.migration) for port, part in handoffs.items() if part.role == "Target"}
        waiting = {(gate.port, gate.migration) for gate in self._shut.values()}
        self._opened = {key: moment for key, moment in self._opened.items() if key in current | waiting}
        return {
            port: NodeHandoffStatus(migration=migration, gate_opened_at=moment)
            for (port, migration), moment in self._opened.items()
            if (port, migration) in current
        }

    def on_shut(self, callback: Callable[[], None]) -> None:
        """Call back when a gate is shut: ``follow`` is due, for the controller may have said before where to tell."""
        self._listeners.append(callback)

    def on_open(self, callback: Callable[[AttachmentId], None]) -> None:
        """Call back when the guest of a NIC has opened its gate."""
        self._callbacks.append(callback)

    def _heard(self, id_: AttachmentId) -> None:
        """A frame from the guest's MAC has come in: the kernel has opened the gate already."""
        gate = self._shut[id_]
        try:
            gate.capture.read()
        except OSError as error:  # the device is down, or gone
            log.info("gate not listened at any more", port=gate.port, error=str(error))
            asyncio.get_running_loop().remove_reader(gate.capture.link)
        if not gate.capture.guest_seen:
            return
        gate.send_marker()
        self._opened[gate.port, gate.migration] = datetime.now(UTC)
        log.info("gate opened by the guest", port=gate.port, nic=str(id_))
        removal = asyncio.ensure_future(self._remove(self._shut.pop(id_)))
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)
        for callback in self._callbacks:
            callback(id_)

    async def _connect(self, gate: _Gate, path: HandoffPath, local: str) -> None:
        before, gate.connecting = gate.peer, True
        try:
            secret = self.keys.secret(path.peer_key, gate.migration, gate.port)
            gate.peer = await inside(self.here, lambda _: PeerPort.to(path, local))
            gate.path, gate.secret = path, secret
        except OSError as error:
            log.warning("the source will not be told", port=gate.port, error=str(error))
        else:
            if before is not None:
                before.close()
        finally:
            gate.connecting = False

    @staticmethod
    async def _remove(gate: _Gate | None, *, arrived: bool = False) -> None:
        if gate is None:
            return
        asyncio.get_running_loop().remove_reader(gate.capture.link)
        if arrived:
            with contextlib.suppress(OSError):
                gate.capture.read()  # until here nothing was let out
            gate.capture.guest_seen = True
        await asyncio.to_thread(gate.table.close)  # the kernel waits for all that is under way
        if arrived:
            gate.send_marker()
        if not gate.connecting:  # else it is still to be told
            gate.close()

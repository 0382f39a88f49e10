"""The source's last service to a guest: what came for it during its pause, and it never read, is sent on to the target.

Armed, the source's node holds a second handle on the guest's queue (taps.py), and reads nothing. The target's node sees
the guest's first frame, and sends the cut-over marker with the handoff's secret to the source's port, along OVN's own
tunnels. That marker, and nothing else, starts the drain: a guest that has sent a frame elsewhere never runs here again,
be it pre-copy or post-copy; one that was rolled back or cancelled has sent none. The marker lies in the queue itself,
too: what comes after it, the target has got on its own, so there the drain ends. What it has got before, the marker
names.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from virtnet.api import HandoffPath, NodeHandoff, NodeHandoffStatus
from virtnet.node import links
from virtnet.node.handoff import HandoffKey, taps
from virtnet.node.handoff.cut_over_marker import TYPE, DeliveredFrames, is_marker
from virtnet.node.handoff.geneve import PeerPort
from virtnet.node.handoff.keys import HandoffKeys
from virtnet.node.handoff.releases import leaves
from virtnet.node.journal import Entry, Journal
from virtnet.node.netns import inside
from virtnet.node.packets import listener

log = structlog.get_logger()

ATTEMPTS, PAUSE_SECONDS = 20, 0.001
"""How long the marker is waited for in the queue: it has been seen on its way already."""

AT_ONCE = 64
"""Frames that are forwarded in one go, about a millisecond: another guest's gate may have to be opened."""

LAST_MARKER_SECONDS = 0.25
"""How long a port is kept for the marker of a guest that is known to have arrived: no frame finds a released one."""

MOST = 4096
"""Frames that one drain carries at most; a tap's queue holds 1000 unless somebody has made it longer."""

_SYS_PTRACE = 19


@dataclass(eq=False)
class _Drain:
    entry: Entry
    path: HandoffPath
    secret: str
    """The handoff's, of this node and the target's."""
    queues: list[taps.Tap]
    peer: PeerPort
    capture: socket.socket
    """Hears what goes to the guest: the marker is among it."""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self) -> None:
        for queue in self.queues:
            queue.close()
        self.peer.close()
        self.capture.close()
        self.over.set()


@dataclass
class Drains:
    """Forwards what guests that have left this node never read. Used from one event loop."""

    here: str
    """The node's network namespace, as a path."""
    journal: Journal
    hook: Callable[[Entry], str | None]
    """The link by which frames go to a NIC's guest; None where there is none."""
    keys: HandoffKeys
    local: Callable[[], str]
    """The address of this node's tunnels; empty where there are none of Geneve."""
    changed: Callable[[], None]
    _armed: dict[HandoffKey, _Drain] = field(default_factory=dict)
    _tried: set[HandoffKey] = field(default_factory=set)
    _forwarded: dict[HandoffKey, int] = field(default_factory=dict)
    _errors: dict[HandoffKey, str] = field(default_factory=dict)
    """Why there is none."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def obstacle(self) -> str:
        """Why this node cannot drain; empty when it can."""
        status = Path("/proc/self/status").read_text()
        capabilities = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), 16)
        if not capabilities >> _SYS_PTRACE & 1:
            return "virtnet-node has no CAP_SYS_PTRACE: frames of the pause stay in the source's queue"
        return "" if self.local() else "the node's tunnels are not Geneve"

    async def follow(self, handoffs: Mapping[str, NodeHandoff]) -> None:
        """Be ready for guests that are to leave; let go of what is over."""
        leaving = {
            (port, part.migration): part
            for port, part in handoffs.items()
            if part.role == "Source" and part.path is not None
        }
        for key, drain in list(self._armed.items()):
            if key not in leaving or leaving[key].path != drain.path:  # by a controller that was deposed meanwhile
                self._disarm(key)
                self._tried.discard(key)
        self._tried &= leaving.keys()
        self._forwarded = {key: count for key, count in self._forwarded.items() if key in leaving}
        self._errors = {key: reason for key, reason in self._errors.items() if key in leaving}
        for key, part in leaving.items():
            entry = next((one for one in self.journal.of_port(key[0]) if leaves(one, part)), None)
            if entry is not None and entry.released_at is not None and key in self._armed:
                self._disarm(key)  # no marker finds a port that was let go
            if part.path is None or entry is None or entry.released_at is not None or key in self._tried:
                continue
            obstacle = self.obstacle()
            if obstacle:
                self._errors[key] = obstacle
            else:
                self._tried.add(key)
                await self._arm(key, entry, part.path)

    async def finish(self, keys: Iterable[HandoffKey]) -> None:
        """Be done with those whose ports are about to be let go, or give their guests' markers up after a moment."""
        ends = [asyncio.create_task(self._armed[key].over.wait()) for key in keys if key in self._armed]
        if not ends:
            return
        _, late = await asyncio.wait(ends, timeout=LAST_MARKER_SECONDS)
        for one in late:
            one.cancel()

    def statuses(self, handoffs: Mapping[str, NodeHandoff]) -> dict[str, NodeHandoffStatus]:
        """What the controller is to be told of handoffs from this node."""
        said = {**dict.fromkeys(self._forwarded, ""), **self._errors}
        return {
            port: NodeHandoffStatus(
                migration=migration, forwarded_frames=self._forwarded.get((port, migration)), drain_error=reason
            )
            for (port, migration), reason in said.items()
            if port in handoffs and handoffs[port].migration == migration
        }

    async def _arm(self, key: HandoffKey, entry: Entry, path: HandoffPath) -> None:
        try:
            drain = await self._prepared(key, entry, path)
        except OSError as error:
            log.warning("no drain: frames of the guest's pause will be lost", port=key[0], error=str(error))
            self._errors[key] = str(error)
            return
        self._errors.pop(key, None)
        self._armed[key] = drain
        asyncio.get_running_loop().add_reader(drain.capture, self._captured, key)
        log.info("drain armed", port=key[0], nic=str(entry.id), queues=len(drain.queues))

    async def _prepared(self, key: HandoffKey, entry: Entry, path: HandoffPath) -> _Drain:
        """Raises OSError."""
        device = self.hook(entry)
        if device is None:
            raise OSError(f"a NIC of kind {entry.attachment.nic} has no link on this node to read frames at")
        pod_end = await inside(self.here, lambda netlink: links.peer(netlink, device))
        names = await inside(entry.netns, lambda netlink: taps.bridge_members(netlink, pod_end))
        local, secret = self.local(), self.keys.secret(path.peer_key, migration=key[1], port=key[0])
        with contextlib.ExitStack() as undo:
            # Heard from the first moment that a queue could be drained. What has not the secret fills no buffer here:
            # frames of this type are anybody's to send.
            start = secret.encode()
            peer, capture = await inside(
                self.here, lambda _: (PeerPort.to(path, local), listener(device, kind=TYPE, start=start))
            )
            undo.callback(peer.close)
            undo.callback(capture.close)
            queues = await asyncio.to_thread(taps.duplicates, entry.netns, names)
            if not queues:
                raise OSError(f"no process in {entry.netns} reads from a tap on the bridge of {entry.interface}")
            undo.pop_all()
        return _Drain(entry, path, secret, queues, peer, capture)

    def _captured(self, key: HandoffKey) -> None:
        drain = self._armed[key]
        try:
            frame = drain.capture.recv(2048)
        except BlockingIOError:
            return
        except OSError as error:
            log.warning("drain given up", port=key[0], error=str(error))
            self._disarm(key)
            return
        if not is_marker(frame, drain.secret):
            return
        asyncio.get_running_loop().remove_reader(drain.capture)
        delivered = DeliveredFrames.of(frame, drain.secret)
        task = asyncio.create_task(self._run(key, drain, delivered), name=f"drain {key[0]}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, key: HandoffKey, drain: _Drain, delivered: DeliveredFrames) -> None:
        forwarded, ended, named = 0, False, delivered.digests.total()
        for _ in range(ATTEMPTS):
            forwarded, ended = await self._forward(key, drain, delivered, forwarded)
            if ended or not await self._still_armed(key, drain, PAUSE_SECONDS):
                break
        left_out = named - delivered.digests.total()
        log.info("drained", port=key[0], forwarded=forwarded, left_out=left_out, whole=ended)
        self._forwarded[key] = forwarded
        if self._armed.get(key) is drain:
            self._disarm(key)
        self.changed()

    async def _forward(
        self, key: HandoffKey, drain: _Drain, delivered: DeliveredFrames, forwarded: int
    ) -> tuple[int, bool]:
        """Send on what is in the queues; how many frames that makes with those before, and whether the marker came."""
        ended = False
        for queue in drain.queues:
            after = False  # in one queue the marker says nothing of what is in others
            for number, frame in enumerate(queue.take(), start=1):
                after = after or is_marker(frame, drain.secret)
                if not after and forwarded < MOST and not delivered.take(frame):
                    forwarded += await self._sent(key, drain, frame)
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)
                if self._armed.get(key) is not drain:
                    return forwarded, ended or after
            ended = ended or after
        return forwarded, ended

    async def _sent(self, key: HandoffKey, drain: _Drain, frame: bytes) -> bool:
        """Whether a frame has gone out. What a busy link does not take now, it takes in a moment."""
        while True:
            try:
                drain.peer.send(frame)
            except BlockingIOError:
                if not await self._still_armed(key, drain, PAUSE_SECONDS):
                    return False
            except OSError:  # as lost as it was
                return False
            else:
                return True

    async def _still_armed(self, key: HandoffKey, drain: _Drain, pause: float) -> bool:
        """After a pause. Else its descriptors are closed, and may be others' by now."""
        await asyncio.sleep(pause)
        return self._armed.get(key) is drain

    def _disarm(self, key: HandoffKey) -> None:
        drain = self._armed.pop(key)
        asyncio.get_running_loop().remove_reader(drain.capture)
        drain.close()

"""The source's last service to a guest: what came for it during its pause, and it never read, is sent on to the target.

Armed, the source's node holds a second handle on the guest's queue (taps.py), and reads nothing. The target's node sees
the guest's first frame, and sends a word with the handoff's secret to the source's port, along OVN's own tunnels. That
word, and nothing else, starts the drain: a guest that has sent a frame elsewhere never runs here again, be it pre-copy
or post-copy; one that was rolled back or cancelled has sent none. The word lies in the queue itself, too: what comes
after it, the target has got on its own, so there the drain ends. What it has got before, the word names.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from virtnet.api import HandoffPath, NodeHandoff, NodeHandoffStatus
from virtnet.node import links, taps
from virtnet.node.geneve import Tunnel
from virtnet.node.handoffs import leaves
from virtnet.node.journal import Entry, Journal
from virtnet.node.netns import inside
from virtnet.node.packets import listener
from virtnet.node.word import TYPE, Passed, is_word

log = structlog.get_logger()

ATTEMPTS, PAUSE_SECONDS = 20, 0.001
"""How long the word is waited for in the queue: it has been seen at the door already."""

AT_ONCE = 64
"""Frames that are carried in one go, about a millisecond: another guest's gate may have to be opened."""

LAST_WORD_SECONDS = 0.25
"""How long a port is kept for the word of a guest that is known to have arrived: no frame finds one that is let go."""

MOST = 4096
"""Frames that one drain carries at most; a tap's queue holds 1000 unless somebody has made it longer."""

_SYS_PTRACE = 19

Key = tuple[str, str]
"""Port and migration."""


@dataclass(eq=False)
class _Drain:
    entry: Entry
    path: HandoffPath
    queues: list[taps.Tap]
    tunnel: Tunnel
    door: socket.socket
    """Hears what goes to the guest: the word is among it."""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self) -> None:
        for queue in self.queues:
            queue.close()
        self.tunnel.close()
        self.door.close()
        self.over.set()


@dataclass
class Drains:
    """Those of this node. Used from one event loop."""

    here: str
    """The node's network namespace, as a path."""
    journal: Journal
    local: Callable[[], str]
    """The address of this node's tunnels; empty where there are none of Geneve."""
    changed: Callable[[], None]
    _armed: dict[Key, _Drain] = field(default_factory=dict)
    _tried: set[Key] = field(default_factory=set)
    _carried: dict[Key, int] = field(default_factory=dict)
    _undrained: dict[Key, str] = field(default_factory=dict)
    """Why there is none."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def obstacle(self) -> str:
        """Why this node cannot drain; empty when it can."""
        status = Path("/proc/self/status").read_text()
        capabilities = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), 16)
        if not capabilities >> _SYS_PTRACE & 1:
            return "virtnet-node has no CAP_SYS_PTRACE: frames of the pause stay in the source's queue"
        return "" if self.local() else "the node's tunnels are not Geneve"

    async def follow(self, handoffs: dict[str, NodeHandoff]) -> None:
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
        self._carried = {key: count for key, count in self._carried.items() if key in leaving}
        self._undrained = {key: reason for key, reason in self._undrained.items() if key in leaving}
        for key, part in leaving.items():
            entry = next((one for one in self.journal.of_port(key[0]) if leaves(one, part)), None)
            if entry is not None and entry.released_at is not None and key in self._armed:
                self._disarm(key)  # no word finds a port that was let go
            if part.path is None or entry is None or entry.released_at is not None or key in self._tried:
                continue
            obstacle = self.obstacle()
            if obstacle:
                self._undrained[key] = obstacle
            else:
                self._tried.add(key)
                await self._arm(key, entry, part.path)

    async def finish(self, keys: Iterable[Key]) -> None:
        """Be done with those whose ports are about to be let go, or give their guests' words up after a moment."""
        ends = [asyncio.create_task(self._armed[key].over.wait()) for key in keys if key in self._armed]
        if not ends:
            return
        _, late = await asyncio.wait(ends, timeout=LAST_WORD_SECONDS)
        for one in late:
            one.cancel()

    def answers(self, handoffs: dict[str, NodeHandoff]) -> dict[str, NodeHandoffStatus]:
        """What the controller is to be told of handoffs from this node."""
        said = {**dict.fromkeys(self._carried, ""), **self._undrained}
        return {
            port: NodeHandoffStatus(migration=migration, carried=self._carried.get((port, migration)), undrained=reason)
            for (port, migration), reason in said.items()
            if port in handoffs and handoffs[port].migration == migration
        }

    async def _arm(self, key: Key, entry: Entry, path: HandoffPath) -> None:
        try:
            drain = await self._prepared(entry, path)
        except OSError as error:
            log.warning("no drain: frames of the guest's pause will be lost", port=key[0], error=str(error))
            self._undrained[key] = str(error)
            return
        self._undrained.pop(key, None)
        self._armed[key] = drain
        asyncio.get_running_loop().add_reader(drain.door, self._at_the_door, key)
        log.info("drain armed", port=key[0], nic=str(entry.id), queues=len(drain.queues))

    async def _prepared(self, entry: Entry, path: HandoffPath) -> _Drain:
        """Raises OSError."""
        peer = await inside(self.here, lambda netlink: links.peer(netlink, entry.host_name))
        names = await inside(entry.netns, lambda netlink: taps.names_beside(netlink, peer))
        local = self.local()
        with contextlib.ExitStack() as undo:
            # Heard from the first moment that a queue could be drained. What has not the secret fills no buffer here:
            # frames of this type are anybody's to send.
            start = path.token.encode()
            tunnel, door = await inside(
                self.here, lambda _: (Tunnel.to(path, local), listener(entry.host_name, kind=TYPE, start=start))
            )
            undo.callback(tunnel.close)
            undo.callback(door.close)
            queues = await asyncio.to_thread(taps.duplicates, entry.netns, names)
            if not queues:
                raise OSError(f"no process in {entry.netns} reads from a tap on the bridge of {entry.interface}")
            undo.pop_all()
        return _Drain(entry, path, queues, tunnel, door)

    def _at_the_door(self, key: Key) -> None:
        drain = self._armed[key]
        try:
            frame = drain.door.recv(2048)
        except BlockingIOError:
            return
        except OSError as error:
            log.warning("drain given up", port=key[0], error=str(error))
            self._disarm(key)
            return
        if not is_word(frame, drain.path.token):
            return
        asyncio.get_running_loop().remove_reader(drain.door)
        passed = Passed.of(frame, drain.path.token)
        task = asyncio.create_task(self._run(key, drain, passed), name=f"drain {key[0]}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, key: Key, drain: _Drain, passed: Passed) -> None:
        carried, ended, named = 0, False, passed.digests.total()
        for _ in range(ATTEMPTS):
            carried, ended = await self._carry(key, drain, passed, carried)
            if ended or not await self._still_armed(key, drain, PAUSE_SECONDS):
                break
        left_out = named - passed.digests.total()
        log.info("drained", port=key[0], carried=carried, left_out=left_out, whole=ended)
        self._carried[key] = carried
        if self._armed.get(key) is drain:
            self._disarm(key)
        self.changed()

    async def _carry(self, key: Key, drain: _Drain, passed: Passed, carried: int) -> tuple[int, bool]:
        """Send on what is in the queues; how many frames that makes with those before, and whether the word came."""
        ended = False
        for queue in drain.queues:
            after = False  # in one queue the word says nothing of what is in others
            for number, frame in enumerate(queue.take(), start=1):
                after = after or is_word(frame, drain.path.token)
                if not after and carried < MOST and not passed.take(frame):
                    carried += await self._sent(key, drain, frame)
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)
                if self._armed.get(key) is not drain:
                    return carried, ended or after
            ended = ended or after
        return carried, ended

    async def _sent(self, key: Key, drain: _Drain, frame: bytes) -> bool:
        """Whether a frame has gone out. What a busy link does not take now, it takes in a moment."""
        while True:
            try:
                drain.tunnel.send(frame)
            except BlockingIOError:
                if not await self._still_armed(key, drain, PAUSE_SECONDS):
                    return False
            except OSError:  # as lost as it was
                return False
            else:
                return True

    async def _still_armed(self, key: Key, drain: _Drain, pause: float) -> bool:
        """After a pause. Else its descriptors are closed, and may be others' by now."""
        await asyncio.sleep(pause)
        return self._armed.get(key) is drain

    def _disarm(self, key: Key) -> None:
        drain = self._armed.pop(key)
        asyncio.get_running_loop().remove_reader(drain.door)
        drain.close()

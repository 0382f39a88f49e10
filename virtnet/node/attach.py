"""Attaching NICs: ADD, DEL, CHECK, STATUS and GC of CNI 1.1.0, each safe to repeat and to be killed in."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import structlog

from virtnet.node.asked import Asked
from virtnet.node.journal import Entry, Journal
from virtnet.node.leftovers import Leftovers
from virtnet.node.nics import Driver
from virtnet.node.onward import Onward
from virtnet.node.pods import Pods, over, wanted
from virtnet.node.request import AttachmentId, CniError, Request
from virtnet.node.results import result
from virtnet.node.switch import SwitchPort
from virtnet.node.underlays import Underlays
from virtnet.ovn.errors import OvnError

log = structlog.get_logger()

K = TypeVar("K")


@dataclass(frozen=True)
class Parts:
    """What attaching is done with."""

    journal: Journal
    pods: Pods
    port: SwitchPort
    drivers: Mapping[str, Driver]
    leftovers: Leftovers
    underlays: Underlays
    asked: Asked
    onward: Onward
    patience: float
    """Seconds that ADD waits for the controller, and for OVN."""


class Attacher:
    """The node's NICs. One NIC is worked on by one request at a time."""

    def __init__(self, parts: Parts) -> None:
        self.journal = parts.journal
        self._parts = parts
        self._port = parts.port
        self._nics = _Locks[AttachmentId]()
        self._ports = _Locks[str]()

    async def handle(self, request: Request) -> dict[str, Any] | None:
        """The result of a request, None where the command has none. Raises CniError."""
        match request.command:
            case "STATUS":
                self._status()
            case "GC":
                await self.collect(request.network, request.valid)
            case "DEL":
                await self.detach(request.id)
            case "CHECK":
                async with self._nics.of(request.id):
                    await self._check(request)
            case "ADD":
                async with self._nics.of(request.id):
                    return await self._add(request)
        return None

    def busy(self, id_: AttachmentId) -> bool:
        """Whether a request works on this NIC."""
        return self._nics.of(id_).locked()

    async def detach(self, id_: AttachmentId) -> None:
        """Take back all that there is of a NIC. Nothing to do is fine. Raises CniError."""
        async with self._nics.of(id_):
            await self._detach(id_)

    async def collect(self, network: str, valid: frozenset[AttachmentId]) -> None:
        """Detach what the runtime does not know of this network. Goes on after a failure, and then raises CniError."""
        ours = {entry.id for entry in self.journal if entry.network_name == network}
        strays = {id_ for id_ in self._parts.leftovers.of_network(network) if self.journal.get(id_) is None}
        # One that is worked on has a request of its own, which the runtime's list may be too old to know.
        candidates = [id_ for id_ in sorted((ours | strays) - valid) if not self.busy(id_)]
        failed = []
        for id_ in candidates:
            try:
                await self.detach(id_)
                log.info("collected", nic=str(id_), network=network)
            except CniError as error:
                failed.append(f"{id_}: {error}")
        if failed:
            raise CniError(CniError.TRY_AGAIN, f"{len(failed)} NICs could not be collected: {'; '.join(failed)}")

    async def release(self, entry: Entry) -> Entry | None:
        """Let go of the port for good, but leave the interface. Returns the entry as it is then. Raises OvnError."""
        if entry.released_at is None:
            await self._parts.onward.keep(entry)
            log.info("port released", port=entry.attachment.port, nic=str(entry.id))
            changed = await self.journal.change(entry.id, released_at=datetime.now(UTC))
        else:
            changed = self.journal.get(entry.id)
        if changed is not None:
            await self._port.let_go(changed)
        return changed

    async def restore(self, entry: Entry) -> None:
        """Give an attached NIC the port back that the switch has lost. Raises CniError."""
        async with self._nics.of(entry.id):
            known = self.journal.get(entry.id)
            if known is None or known.state != "Attached" or not self._port.missing(known):
                return
            if await self._driver(known).alive(known):
                log.info("lost port restored", port=known.attachment.port, nic=str(known.id))
                await self._port.do(known)

    async def _add(self, request: Request) -> dict[str, Any]:
        entry = await wanted(self._parts.pods, request)
        if self._port.problem:
            raise CniError(CniError.TRY_AGAIN, self._port.problem)
        known = self.journal.get(request.id)
        if known is not None and await self._holds(known, entry):
            known = await self._claim(known)
        else:
            if known is not None:
                await self._detach(request.id)  # what a crash has left, or an earlier answer that holds no more
            await self._parts.underlays.check(entry)
            known = await self._attach(entry)
        return result(known, request.version, await self._driver(known).observe(known))

    async def _holds(self, known: Entry, entry: Entry) -> bool:
        """Whether a NIC that we know of is what is asked for now, and whole."""
        if known.state != "Attached" or (known.attachment, known.netns) != (entry.attachment, entry.netns):
            return False
        try:
            await self._driver(known).observe(known)
        except CniError as error:
            log.warning("attached anew", nic=str(known.id), error=str(error))
            return False
        return True

    async def _attach(self, entry: Entry) -> Entry:
        """All steps; what was done is taken back when one fails.

        Not when the daemon is told to end: the next one finds it in the journal, as after a crash.
        """
        try:
            await self._written(entry)
            for step in self._driver(entry).plan(entry):
                await step.do(entry)
            await self._armed(entry)
            return await self._attached(await self._claim(entry))
        except Exception:
            await self._take_back(entry.id)
            raise

    async def _armed(self, entry: Entry) -> None:
        """A migration's target waits for its handoff. Raises CniError."""
        if not entry.migration or self._parts.asked.is_target(entry):
            return
        log.info("waits until its handoff is armed", port=entry.attachment.port, migration=entry.migration)
        if not await self._parts.asked.armed(entry, self._parts.patience):
            raise CniError(
                CniError.TRY_AGAIN,
                f"port {entry.attachment.port} was not handed over to this node by migration {entry.migration} within "
                f"{self._parts.patience:g} s",
                "is the controller running? kubectl describe port shows what it waits for",
            )

    async def _attached(self, entry: Entry) -> Entry:
        if entry.released_at is not None:
            raise CniError(CniError.TRY_AGAIN, f"port {entry.attachment.port} was taken by a later NIC of this node")
        return await self._written(entry.model_copy(update={"state": "Attached"}))

    async def _written(self, entry: Entry) -> Entry:
        try:
            return await self.journal.write(entry)
        except OSError as error:
            problem = f"port {entry.attachment.port} is not attached without a note in the node's journal: {error}"
            raise CniError(CniError.TRY_AGAIN, problem, "is there room on its disk, below /var/lib/virtnet?") from error

    async def _claim(self, entry: Entry) -> Entry:
        """Have the port bound here; the entry as it is then. A NIC that has let go of its port does not get it back."""
        async with self._ports.of(entry.attachment.port):
            entry = self.journal.get(entry.id) or entry
            for other in self.journal.of_port(entry.attachment.port):
                if other.id != entry.id and entry.released_at is None:
                    await self._take_over(other, entry)
            await self._port.do(entry)
        if entry.released_at is None:
            await self._port.wait(entry, self._parts.patience)
        return self.journal.get(entry.id) or entry

    async def _take_over(self, other: Entry, entry: Entry) -> None:
        """Let an earlier NIC of this node go, whose DEL may come later. One of a pod that lives keeps its port."""
        if other.released_at is None and other.pod_uid != entry.pod_uid and not await over(self._parts.pods, other):
            raise CniError(
                CniError.TRY_AGAIN,
                f"port {entry.attachment.port} belongs to pod {other.pod}, which runs on this node",
                "a guest is on a node once: end that pod, or migrate to another node",
            )
        try:
            await self.release(other)
        except OvnError as error:
            raise CniError(CniError.TRY_AGAIN, f"Open vSwitch: {error}") from error

    async def _take_back(self, id_: AttachmentId) -> None:
        try:
            await self._detach(id_)
        except Exception:
            # The runtime must see the first error. The journal knows what is left for DEL, GC or the next start.
            log.exception("could not be taken back", nic=str(id_))

    async def _detach(self, id_: AttachmentId) -> None:
        entry = await self.journal.change(id_, state="Detaching")
        if entry is None:
            await self._parts.leftovers.remove(id_)
            return
        await self._parts.onward.keep(entry)
        await self._port.undo(id_)
        for step in reversed(self._driver(entry).plan(entry)):
            await step.undo(entry)
        await self.journal.remove(id_)

    async def _check(self, request: Request) -> None:
        entry = self.journal.get(request.id)
        if entry is None or entry.state != "Attached":
            raise CniError(CniError.UNKNOWN_CONTAINER, f"{request.id} is not attached by virtnet")
        await self._driver(entry).observe(entry)
        self._port.check(entry)

    def _status(self) -> None:
        if self._port.problem:
            raise CniError(CniError.UNAVAILABLE, self._port.problem)

    def _driver(self, entry: Entry) -> Driver:
        return self._parts.drivers[entry.attachment.nic]


class _Locks(WeakValueDictionary[K, asyncio.Lock]):
    """A lock for each key, which lives as long as somebody holds or awaits it."""

    def of(self, key: K) -> asyncio.Lock:
        return self.setdefault(key, asyncio.Lock())

"""Attaching NICs: ADD, DEL, CHECK, STATUS and GC of CNI 1.1.0, each safe to repeat and to be killed in."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import structlog

from virtnet.node import device_info
from virtnet.node.handoff.assignments import Assignments
from virtnet.node.handoff.flow_hold import FlowHold
from virtnet.node.journal import Entry, Journal
from virtnet.node.nics import Drivers
from virtnet.node.orphans import Orphans
from virtnet.node.pods import Pods, over, wanted
from virtnet.node.request import AttachmentId, CniError, Request
from virtnet.node.reservations import Reservations
from virtnet.node.results import result
from virtnet.node.router_messages import RouterMessages
from virtnet.node.switch import SwitchPorts
from virtnet.node.underlays import Underlays
from virtnet.ovn.errors import OvnError

log = structlog.get_logger()

K = TypeVar("K")


@dataclass(frozen=True)
class Parts:
    """What attaching is done with."""

    journal: Journal
    pods: Pods
    ports: SwitchPorts
    drivers: Drivers
    orphans: Orphans
    underlays: Underlays
    assignments: Assignments
    reservations: Reservations
    flow_hold: FlowHold
    router_messages: RouterMessages
    patience: float
    """Seconds that ADD waits for the controller, and for OVN."""


class Attacher:
    """The node's NICs. One NIC is worked on by one request at a time."""

    def __init__(self, parts: Parts) -> None:
        self.journal = parts.journal
        self._parts = parts
        self._switch = parts.ports
        self._drivers = parts.drivers
        self._nics = _Locks[AttachmentId]()
        self._ports = _Locks[str]()

    async def handle(self, request: Request) -> dict[str, Any] | None:
        """The result of a request, None where the command has none. Raises CniError."""
        match request.command:
            case "STATUS":
                await self._status(request)
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

    def hook(self, entry: Entry) -> str | None:
        """The link at which a NIC's gate and drain hang; None where it has none."""
        return self._drivers.of(entry).hook(entry)

    def uplink(self, entry: Entry) -> str | None:
        """The interface behind which a NIC is that no switch of OVN's has."""
        return self._drivers.of(entry).uplink(entry)

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
        strays = {id_ for id_ in self._parts.orphans.of_network(network) if id_ not in self.journal}
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
            await self._parts.flow_hold.hold(entry)
            log.info("port released", port=entry.attachment.port, nic=str(entry.id))
            changed = await self.journal.change(entry.id, released_at=datetime.now(UTC))
        else:
            changed = self.journal.get(entry.id)
        if changed is not None:
            await self._switch.let_go(changed)
        return changed

    async def restore(self, entry: Entry) -> None:
        """Give an attached NIC the port back that the switch has lost. Raises CniError."""
        async with self._nics.of(entry.id):
            known = self.journal.get(entry.id)
            if known is None or known.state != "Attached" or not self._switch.missing(known):
                return
            if await self._drivers.of(known).alive(known):
                log.info("lost port restored", port=known.attachment.port, nic=str(known.id))
                await self._connect(known)

    async def _add(self, request: Request) -> dict[str, Any]:
        entry = await wanted(self._parts.pods, request)
        self._drivers.of(entry)  # or nothing can be done
        self._refuse_foreign(request.id)
        if self._switch.problem:
            raise CniError(CniError.TRY_AGAIN, self._switch.problem)
        known = self.journal.get(request.id)
        if known is not None and await self._holds(known, entry):
            known = await self._claim(known)
            await self._describe(known)
        else:
            if known is not None:
                await self._detach(request.id)  # what a crash has left, or an earlier answer that holds no more
            await self._parts.underlays.check(entry)
            known = await self._attach(entry)
        return result(known, request.version, await self._drivers.of(known).observe(known))

    async def _holds(self, known: Entry, entry: Entry) -> bool:
        """Whether a NIC that we know of is what is asked for now, and whole."""
        if known.state != "Attached" or _asked(known) != _asked(entry):
            return False
        try:
            await self._drivers.of(known).observe(known)
        except CniError as error:
            log.warning("attached anew", nic=str(known.id), error=str(error))
            return False
        return True

    async def _attach(self, entry: Entry) -> Entry:
        """All steps; what was done is taken back when one fails.

        Not when the daemon is told to end: the next one finds it in the journal, as after a crash.
        """
        driver = self._drivers.of(entry)
        await self._parts.reservations.make(entry, busy=self.busy, detach=self.detach)
        try:
            await self._written(entry)
            prepared = await driver.prepare(entry)
            entry = entry if prepared is entry else await self._written(prepared)
            for step in driver.plan(entry):
                await step.do(entry)
            await self._armed(entry)
            claimed = await self._claim(entry)
            await self._describe(claimed)
            return await self._attached(claimed)
        except Exception:
            await self._take_back(entry.id)
            raise

    async def _armed(self, entry: Entry) -> None:
        """A migration's target waits for its handoff, if its NIC has a port that is handed over. Raises CniError."""
        has_port = self._drivers.of(entry).interface(entry) is not None
        if not entry.migration or not has_port or self._parts.assignments.is_target(entry):
            return
        log.info("waits until its handoff is armed", port=entry.attachment.port, migration=entry.migration)
        if not await self._parts.assignments.armed(entry, self._parts.patience):
            raise CniError(
                CniError.TRY_AGAIN,
                f"port {entry.attachment.port} was not handed over to this node by migration {entry.migration} within "
                f"{self._parts.patience:g} s",
                "is the controller running? kubectl describe port shows what it waits for",
            )

    async def _describe(self, entry: Entry) -> None:
        """Say what the NIC's device is, where the runtime wants to know. Raises CniError."""
        info = await self._drivers.of(entry).device_info(entry) if entry.device_info else None
        if info is not None:
            device_info.write(entry, info)

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
            await self._connect(entry)
        if entry.released_at is None:
            await self._switch.wait(entry, self._parts.patience)
        return self.journal.get(entry.id) or entry

    async def _connect(self, entry: Entry) -> None:
        """Give the NIC its port. OVN lets nothing in by it before it is claimed, and by then it has its drops."""
        await self._switch.plug(entry, self._parts.patience)
        if entry.released_at is None:
            await self._parts.router_messages.cover(entry)
            await self._switch.claim(entry)

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
            self._refuse_foreign(id_)
            await self._parts.orphans.remove(id_)
            return
        await self._parts.flow_hold.hold(entry)
        await self._switch.undo(entry)
        for step in reversed(self._drivers.of(entry).plan(entry)):
            await step.undo(entry)
        device_info.remove(entry)
        await self.journal.remove(id_)

    def _refuse_foreign(self, id_: AttachmentId) -> None:
        """A NIC that another version has attached, of a kind that this one does not know, is left to that."""
        if self.journal.is_foreign(id_):
            raise CniError(
                CniError.TRY_AGAIN,
                f"{id_} was attached by another version of virtnet-node, as a kind that this one does not serve",
                "run that version on this node again; it takes the NIC back",
            )

    async def _check(self, request: Request) -> None:
        self._refuse_foreign(request.id)
        entry = self.journal.get(request.id)
        if entry is None or entry.state != "Attached":
            raise CniError(CniError.UNKNOWN_CONTAINER, f"{request.id} is not attached by virtnet")
        await self._drivers.of(entry).observe(entry)
        self._switch.check(entry)

    async def _status(self, request: Request) -> None:
        if self._switch.problem:
            raise CniError(CniError.UNAVAILABLE, self._switch.problem)
        if request.has_devices:
            await self._parts.reservations.allocations.check_served()


def _asked(entry: Entry) -> tuple[object, ...]:
    """What the runtime asks for, of a NIC."""
    return entry.attachment, entry.netns, entry.device, entry.device_info


class _Locks(WeakValueDictionary[K, asyncio.Lock]):
    """A lock for each key, which lives as long as somebody holds or awaits it."""

    def of(self, key: K) -> asyncio.Lock:
        return self.setdefault(key, asyncio.Lock())

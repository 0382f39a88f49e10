"""The controller of one term of office: watches and OVN fill the graph, and what is due goes to whoever does it."""

import asyncio
import gc
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import structlog

from virtnet.controllers.definitions import Definitions
from virtnet.controllers.garbage import collect_in_pauses
from virtnet.controllers.lost_objects import COMPILED, note_lost, record
from virtnet.controllers.metrics import Metrics
from virtnet.controllers.owners import Owners
from virtnet.controllers.reporter import Reporter
from virtnet.controllers.state import COMPILE, KEEP, OWN, REPORT, ControllerState
from virtnet.controllers.stuck import StuckHandoffs, moment
from virtnet.controllers.worker import Queue, WorkerPool
from virtnet.controllers.writer import Writer, rows_queue
from virtnet.engine.due import Priority, Task
from virtnet.engine.keys import ObjectKey
from virtnet.features import FEATURES
from virtnet.features.effects import Evict, HandoffWait, RemoveChassis
from virtnet.features.node_parts import NODE_NETWORKS, OUTSIDE_CONFLICTS
from virtnet.features.ovn_state import ASSIGNMENTS, BINDINGS, CHASSIS, PENDING_HANDOFFS, ROWS, Chassis, PortBinding
from virtnet.features.sources import LEASES, MIGRATIONS, PORTS, VM_KIND, VMS
from virtnet.handoff.machine import Ending
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.informer import Informer, KindState
from virtnet.kube.watched import BY_CONTROLLER
from virtnet.ovn.errors import OvnError, OvnRejected, OvnUnavailable, Stale
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.ovn.southbound import Southbound

log = structlog.get_logger()

T = TypeVar("T")

REPORT_PAUSE = 0.2
"""Seconds: how often a status is written at most. What nodes are asked for waits for nothing."""

PART = 200
"""How many tasks are queued, or rows noted, in one turn of the loop: a matter of milliseconds."""

AUDIT_EVERY = timedelta(minutes=5)


def _parts(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while part := list(islice(rest, PART)):
        yield part


class Controller:
    """Wires the parts to each other."""

    def __init__(self, cluster: Cluster, northbound: OvsdbNorthbound, southbound: Southbound, metrics: Metrics) -> None:
        self._cluster = cluster
        self._northbound = northbound
        self._southbound = southbound
        self._metrics = metrics
        self._flushing = False
        self._first = Priority.REST
        """The highest priority that what is due can have: until everything was queued once, nothing has changed."""
        self._rest: OrderedDict[Task, None] = OrderedDict()
        """What is still to be queued of the least priority."""
        self._stuck = StuckHandoffs()
        self.state = state = ControllerState(self._changed)
        rows = rows_queue()
        self.writer = Writer(state, northbound, rows, self._effect, metrics.transactions)
        owners = Owners(cluster, state, again=self._later)
        reporter = Reporter(cluster, state, self._announced, self._later)
        self._owners = WorkerPool(Queue[Task]("owners"), owners.reconcile, after=rows, least=Priority.OWN)
        self._definitions = WorkerPool(Queue[Task]("definitions"), Definitions(cluster, state).reconcile, after=rows)
        self._reports = WorkerPool(Queue[Task]("reports"), reporter.report, pause=REPORT_PAUSE, after=rows)
        self._requests = WorkerPool(Queue[Task]("requests"), reporter.report)
        self._evictions = WorkerPool(Queue[Evict]("evictions"), self._evict)
        self._removals = WorkerPool(Queue[RemoveChassis]("chassis"), self._remove_chassis)
        self._removed: set[str] = set()
        """The chassis that were removed."""
        self._rows = rows
        self._informers: list[Informer[tuple[ObjectKey, Any]]] = []
        southbound.on_change(self._bindings_changed)
        southbound.on_chassis_change(self._chassis_changed)
        self._measure(metrics)

    def obstacles(self) -> Iterator[str]:
        """What keeps the leader from its work, a line each."""
        if not self._northbound.connected:
            yield self._northbound.obstacle
        if not self._southbound.connected:
            yield self._southbound.obstacle
        if not (self._informers and all(informer.synced.is_set() for informer in self._informers)):
            yield "not all objects are known yet; the log says which kind is missing"

    async def run(self) -> None:
        """Lead until cancelled. Raises Fenced when another controller has OVN's lock."""
        self._informers = [
            Informer(
                self._cluster,
                source.kind,
                self.state.cache(source.kind),
                partial(self.state.note, source.kind),
                required=source.required,
                labels=source.labels,
            )
            for source in BY_CONTROLLER
        ]
        gc.disable()  # of what is listed nothing is garbage, and to look for it takes longer than the Lease lasts
        try:
            async with asyncio.TaskGroup() as group:
                for informer in self._informers:
                    group.create_task(informer.run(), name=f"watch {informer.kind}")
                await asyncio.gather(*(informer.synced.wait() for informer in self._informers))
                await self._start(group)
        finally:
            gc.enable()

    async def _start(self, group: asyncio.TaskGroup) -> None:
        """Everything is known: look at everything once, then at what is due. Nothing may be decided before."""
        objects = self.state.objects
        log.info("synced", vms=len(objects(VMS)), ports=len(objects(PORTS)), leases=len(objects(LEASES)))
        note_lost(self.state, self._northbound, self._crds)
        await self._observe_ovn()
        self._queue_first()
        gc.freeze()  # else every full collection looks at all objects again: half a second for 10,000 Ports
        gc.enable()
        for feature in FEATURES:
            for one in feature.defaults:
                self._reports.queue.add(Task(REPORT, ObjectKey.of(one)))
        group.create_task(self.writer.run(), name="rows")
        for pool in (self._owners, self._definitions, self._reports, self._requests, self._evictions, self._removals):
            group.create_task(pool.run(), name=pool.queue.name)
        group.create_task(collect_in_pauses(self._is_busy), name="garbage")
        group.create_task(self._audits(), name="audits")

    def _is_busy(self) -> bool:
        """Whether a migration is under way, or anything is due."""
        moving = len(self.state.objects(ASSIGNMENTS)) > 0
        return moving or bool(self._rows or self._owners or self._reports)

    @property
    def _crds(self) -> dict[str, str]:
        """Kind -> UID of its definition, of those that OVN has rows of."""
        known = {informer.kind: informer.definition for informer in self._informers}
        return {model.__name__: known[kinds.of(model)] for model in COMPILED}

    async def _observe_ovn(self) -> None:
        """Note what OVN has, before anything is decided. By parts: the Lease is renewed meanwhile."""
        for keys in _parts(self._northbound.keys):
            self.writer.observe(keys)
            await asyncio.sleep(0)
        for ports in _parts(self._southbound.ports()):
            self._bindings_changed(ports)
            await asyncio.sleep(0)
        self._chassis_changed()

    def _queue_first(self) -> None:
        """Queue all there is: ports that move first, and what changes from here on overtakes the rest."""
        self._flush()
        self._first = Priority.URGENT
        objects, owner = self.state.objects, PORTS.indexes["owner"]
        moving = (one.vmi._replace(kind=VM_KIND) for one in objects(MIGRATIONS) if not one.migration.final)
        for key in (ObjectKey.of(port) for vm in moving for port in objects(PORTS).by(owner, vm)):
            if key in objects(ROWS):
                self._rows.add(Task(COMPILE, key), Priority.URGENT)

    async def _audits(self) -> None:
        """Look at everything now and then: the same path as at the start, for what no event told."""
        while True:
            try:
                await record(self.state, self._northbound, self._crds)
            except (OvnRejected, Stale, OvnUnavailable) as error:
                log.warning("definitions not recorded in OVN", error=str(error))
            await asyncio.sleep(AUDIT_EVERY.total_seconds())
            self._rest.update((task, None) for task in self.state.graph.tasks() if task.name != REPORT)
            self._changed()

    def _changed(self) -> None:
        """Something may be due: look when whoever tells of changes has told them all."""
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Queue what is due; of the least priority, which of a Subnet may be all Ports, a part in each turn."""
        for task, priority in self.state.graph.due(PART).items():
            if priority is Priority.REST:
                self._rest[task] = None
            else:
                self._queue(task).add(task, max(priority, self._first))
        for _ in range(min(len(self._rest), PART)):
            task, _ = self._rest.popitem(last=False)
            self._queue(task).add(task, Priority.REST)
        self._flushing = bool(self._rest) or self.state.graph.crowded
        if self._flushing:
            asyncio.get_running_loop().call_soon(self._flush)

    def _queue(self, task: Task) -> Queue[Task]:
        if task.name == COMPILE:
            return self._rows
        if task.name == OWN:
            return self._owners.queue
        if task.name == KEEP:
            return self._definitions.queue
        return self._requests.queue if task.key.kind == NODE_NETWORKS.kind else self._reports.queue

    def _later(self, task: Task, delay: timedelta) -> None:
        self._queue(task).add_later(task, delay)

    def _bindings_changed(self, ports: Iterable[str]) -> None:
        for port in ports:
            binding = self._southbound.binding(port)
            bound = PortBinding(binding, self._southbound.tunnel_keys(port)) if binding else None
            self.state.tell(BINDINGS, ObjectKey.named(PORTS.kind, port), bound)

    def _chassis_changed(self) -> None:
        found = (Chassis(*one) for one in self._southbound.tunnel_addresses().items())
        now = {CHASSIS.key(one.name): one for one in found}
        known = self.state.objects(CHASSIS)
        for key in {*known.keys(), *now}:
            if known.get(key) != now.get(key):
                self.state.tell(CHASSIS, key, now.get(key))

    def _effect(self, effect: object) -> None:
        """Carry out what follows from a commit, or have it carried out."""
        if isinstance(effect, HandoffWait):
            task = Task(COMPILE, effect.port)
            wait, again = self._stuck.note(effect, moment())
            self.state.tell(PENDING_HANDOFFS, effect.port, wait)
            if again is not None:
                self._later(task, again)
        elif isinstance(effect, Evict):
            self._evictions.queue.add(effect)
        elif isinstance(effect, RemoveChassis):
            self._removals.queue.add(effect)

    async def _evict(self, effect: Evict) -> None:
        log.info("chassis taken off a port that they had left", port=effect.port, chassis=sorted(effect.chassis))
        try:
            await self._southbound.evict(effect.port, effect.chassis)
        except OvnError as error:  # an OVN that guards its southbound database; peers then send all twice
            log.warning("chassis not taken off", port=effect.port, error=str(error))

    async def _remove_chassis(self, effect: RemoveChassis) -> None:
        if effect.once and effect.chassis in self._removed:
            log.warning("a node's former chassis is back, and is left alone", chassis=effect.chassis)
            return
        log.info("chassis removed: no node is that any more", chassis=effect.chassis, address=effect.address)
        self._removed.add(effect.chassis)
        try:
            await self._southbound.remove(effect.chassis, effect.address)
        except OvnError as error:  # the node's condition says what is in its way
            log.warning("chassis not removed", chassis=effect.chassis, error=str(error))

    def _announced(self, subject: object) -> None:
        if isinstance(subject, Ending):
            self._metrics.handoff(subject)

    def _measure(self, metrics: Metrics) -> None:
        objects = self.state.objects
        metrics.pinned.set_function(lambda: len(objects(LEASES)))
        metrics.stuck.set_function(lambda: self._stuck.count(moment()))
        metrics.ports.set_function(lambda: len(objects(PORTS)))
        metrics.conflicts.set_function(lambda: len(objects(OUTSIDE_CONFLICTS)))
        metrics.connected.set_function(lambda: self._northbound.connected and self._southbound.connected)
        metrics.waiting.labels("rows").set_function(lambda: len(self._rows))
        for state in KindState:
            metrics.kinds.labels(state).set_function(partial(self._count, state))
        for pool in (self._owners, self._definitions, self._reports, self._requests):
            metrics.waiting.labels(pool.queue.name).set_function(pool.__len__)

    def _count(self, state: KindState) -> int:
        """How many kinds the API server serves to us, or does not, in one way."""
        return sum(informer.state is state for informer in self._informers)

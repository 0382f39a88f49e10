"""The controller process: leadership, watches, three workers, OVN."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import structlog

from virtnet.api import AddressLease, ClusterVpc
from virtnet.api.meta import Metadata
from virtnet.controllers.informers import Informers, Workers, port_keys
from virtnet.controllers.metrics import Metrics
from virtnet.controllers.owners import Owners
from virtnet.controllers.provider_networks import ProviderNetworks
from virtnet.controllers.reports import Reports
from virtnet.controllers.rows import Rows
from virtnet.controllers.store import Store, lease_owner, port_owner
from virtnet.controllers.waits import moment
from virtnet.controllers.worker import Batches, Singles
from virtnet.handoff.machine import Ending
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import AlreadyExists, ApiError, NotFound, Rejected
from virtnet.kube.leader import LeaderElection
from virtnet.ovn.errors import Unavailable
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.ovn.southbound import Southbound
from virtnet.topology.rows import Key

log = structlog.get_logger()

D = TypeVar("D", OvsdbNorthbound, Southbound)

REPORT_PAUSE = 0.2
ELECTION_PAUSE = 2.0
AUDIT_EVERY = timedelta(minutes=5)


@dataclass(frozen=True)
class Settings:
    """Flags of ``virtnet controller``."""

    northbound: str
    southbound: str
    leader_elect: bool = True
    namespace: str = "virtnet"
    """Where the leader's Lease lies."""
    metrics_port: int = 9402
    """0: none."""


async def run(settings: Settings) -> None:
    """Serve until cancelled. Who has lost the Lease stands for election again."""
    metrics = Metrics.serve(settings.metrics_port)
    async with await Cluster.connect(agent="virtnet-controller") as cluster:
        if not settings.leader_elect:
            await lead(cluster, settings, metrics)
            return
        while True:
            election = LeaderElection(cluster, name="virtnet-controller", namespace=settings.namespace)
            try:
                await election.run(lambda: lead(cluster, settings, metrics))
            except (NotFound, Rejected) as error:  # the namespace, or our role in it, may come after us
                log.warning("cannot stand for election", error=str(error))
                await asyncio.sleep(ELECTION_PAUSE)
            else:
                return


async def lead(cluster: Cluster, settings: Settings, metrics: Metrics) -> None:
    """Be the one controller, until cancelled or fenced."""
    async with (
        _opened(OvsdbNorthbound(settings.northbound)) as northbound,
        _opened(Southbound(settings.southbound)) as southbound,
    ):
        if settings.leader_elect:
            await northbound.steal_lock()
        else:
            await northbound.wait_for_lock()
        metrics.leader.set(1)
        try:
            await Controller(cluster, Store(), northbound, southbound, metrics).run()
        finally:
            metrics.leader.set(0)
            metrics.forget()
            gc.unfreeze()  # what this term of office knew; the next one begins with an empty store


@asynccontextmanager
async def _opened(database: D) -> AsyncIterator[D]:
    """The database, connected as soon as it answers: at boot the controller may be the first."""
    while True:
        try:
            await database.open()
            break
        except Unavailable as error:
            log.warning("waiting for OVN", error=str(error))
    try:
        yield database
    finally:
        await database.close()


class Controller:
    """Wires the reconcilers to each other."""

    def __init__(
        self, cluster: Cluster, store: Store, northbound: OvsdbNorthbound, southbound: Southbound, metrics: Metrics
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._northbound = northbound
        self._metrics = metrics
        self._ready = False
        self.rows = Rows(
            cluster,
            store,
            northbound,
            southbound,
            ended=self._ended,
            again=self._again,
            written=self._written,
            committed=metrics.transactions,
        )
        self.owners = Owners(
            cluster,
            store,
            in_ovn=self.rows.addresses,
            changed=lambda ports: self.workers.rows.nudge(f"Port/{port}" for port in ports),
            conflict=self._conflict,
            again=self._again_owner,
            settle=self._settle,
        )
        self.reports = Reports(cluster, store, self.rows.view)
        self._nics = ProviderNetworks(cluster, store)
        self.workers = Workers(
            owners=Singles("owners", self.owners.reconcile),
            rows=Batches("rows", self.rows.reconcile),
            reports=Batches("reports", self.reports.reconcile, pause=REPORT_PAUSE),
            nics=self._nics.nudge,
        )
        self._informers = Informers(cluster, store, self.workers)
        metrics.pinned.set_function(lambda: len(store.leases))
        metrics.stuck.set_function(lambda: self.rows.waits.count(moment()))
        metrics.ports.set_function(lambda: len(store.ports))
        # list: another thread asks.
        metrics.conflicts.set_function(lambda: sum(len(node.status.conflicts) for node in list(store.nodes)))
        metrics.connected.set_function(lambda: northbound.connected and southbound.connected)
        for worker in (self.workers.owners, self.workers.rows, self.workers.reports):
            metrics.waiting.labels(worker.name).set_function(worker.waiting)
        northbound.on_change(self._rows_changed)
        southbound.on_change(self._bindings_changed)

    async def run(self) -> None:
        await self._default_vpc()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._informers.run(lambda: self._start(group)), name="informers")

    async def _start(self, group: asyncio.TaskGroup) -> None:
        """Everything is known: look at everything once, then at what changes."""
        log.info("synced", vms=len(self._store.vms), ports=len(self._store.ports), leases=len(self._store.leases))
        gc.collect()
        gc.freeze()  # else every full collection looks at the whole store again: half a second for 10,000 Ports
        self._ready = True
        self._audit()
        for worker in (self.workers.owners, self.workers.rows, self.workers.reports):
            group.create_task(worker.run(), name=worker.name)
        group.create_task(self._audits(), name="audits")
        group.create_task(self._nics.run(), name="provider networks")

    async def _audits(self) -> None:
        """Look at everything now and then: the same path as at the start, for what no event told."""
        while True:
            await asyncio.sleep(AUDIT_EVERY.total_seconds())
            self._audit()

    def _audit(self) -> None:
        store = self._store
        self.workers.rows.audit(self.rows.everything())
        self.workers.owners.audit(
            {
                *(f"vm:{vm.key}" for vm in store.vms),
                *(pod.owner for pod in store.pods),
                *(port_owner(port) for port in store.ports),
                *(lease_owner(lease) for lease in store.leases),
            }
        )

    async def _default_vpc(self) -> None:
        """The ClusterVpc ``default`` exists from the start."""
        manifest = ClusterVpc(metadata=Metadata(name="default")).manifest()
        while True:
            try:
                await self._cluster.create(kinds.of(ClusterVpc), manifest)
            except AlreadyExists:
                return
            except ApiError as error:  # the CRDs, or our role, may come after us
                log.warning("ClusterVpc default not created yet", error=str(error))
                await asyncio.sleep(ELECTION_PAUSE)
            else:
                return

    def _again(self, key: str, delay: timedelta) -> None:
        self.workers.rows.nudge_later(key, delay)

    def _settle(self, owners: Iterable[str]) -> None:
        self.workers.owners.audit(owners)

    def _again_owner(self, owner: str, delay: timedelta) -> None:
        self.workers.owners.nudge_later(owner, delay)

    def _written(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        self.workers.reports.nudge(keys)
        ports = [key.removeprefix("Port/") for key in keys if key.startswith("Port/")]
        self.workers.owners.nudge({lease_owner(lease) for port in ports for lease in self._outdated(port)})

    def _outdated(self, key: str) -> list[AddressLease]:
        """Leases of a port that it does not need any more, now that OVN has let go of the address."""
        port = self._store.ports.get(key)
        wanted = {port.spec.mac_address, *port.spec.addresses} if port else set()
        return [lease for lease in self._store.leases.of(key) if lease.spec.address not in wanted]

    async def _ended(self, port: str, ending: Ending) -> None:
        if await self.reports.ended(port, ending):
            self._metrics.handoff(ending)

    def _conflict(self, port: str, lease: AddressLease) -> None:
        self._store.waiting.setdefault(lease.name, set()).add(port)
        self.workers.rows.nudge([f"Port/{port}"])

    def _rows_changed(self, keys: frozenset[Key]) -> None:
        """Somebody changed rows of ours, or the database was replaced: put back what must be there."""
        if self._ready:
            self.workers.rows.nudge({key.origin for key in keys})
            if not keys:
                self.workers.rows.audit(self.rows.everything())

    def _bindings_changed(self, ports: frozenset[str]) -> None:
        if self._ready:
            known = [port for key in ports if (port := self._store.ports.get(key)) is not None]
            self.workers.rows.nudge(port_keys(known))

"""The reconciler of rows: resources and handoff facts -> OVN's northbound database. The only writer of it."""

import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from prometheus_client import Histogram

from virtnet.addressing.pools import pools_of
from virtnet.api import ClusterSubnet, Port, Subnet
from virtnet.controllers.asks import REPORT_RETRY, Asks
from virtnet.controllers.informers import port_keys, subnet_of, vpc_id
from virtnet.controllers.ownership import leases_of
from virtnet.controllers.placement import obstacle, own_dhcp
from virtnet.controllers.reports import PortView
from virtnet.controllers.store import Store, port_owner, subnet_id
from virtnet.controllers.waits import Waits, moment
from virtnet.controllers.worker import together
from virtnet.handoff.facts import Binding, Facts, Told
from virtnet.handoff.journal import Journal
from virtnet.handoff.machine import Decision, Ending, decide, unreported
from virtnet.handoff.options import ChassisOptions
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError
from virtnet.ovn.errors import Fenced, OvnError, Rejected, Stale
from virtnet.ovn.northbound import Northbound
from virtnet.ovn.southbound import Southbound
from virtnet.topology.chassis import read_chassis
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.difference import difference
from virtnet.topology.names import port_key
from virtnet.topology.rows import Op, Row
from virtnet.topology.switch import Beside

log = structlog.get_logger()


class Rows:
    """Keys are the origins of rows: ``Kind/ns/name``, or ``Kind/name`` in cluster scope."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        northbound: Northbound,
        southbound: Southbound,
        *,
        ended: Callable[[str, Ending], Awaitable[None]],
        again: Callable[[str, timedelta], None],
        written: Callable[[Iterable[str]], None],
        committed: Histogram,
        decide: Callable[[Facts], Decision] = decide,
    ) -> None:
        """``ended``: write down how a handoff ended, before its journal goes. ``again(key, delay)``: look again then.

        ``written(keys)``: these have been looked at, and OVN has what they need.
        """
        self._store = store
        self._northbound = northbound
        self._southbound = southbound
        self._ended = ended
        self._again = again
        self._written = written
        self._committed = committed
        self._decide = decide
        self._asks = Asks(cluster, store, southbound.tunnel_keys, again)
        self.waits = Waits()

    async def reconcile(self, keys: frozenset[str]) -> frozenset[str]:
        """One look at each key, one transaction for all; returns the keys when it has to be tried again.

        Raises Fenced when another controller has the database's lock.
        """
        try:
            return await together(keys, self._reconcile)
        except Fenced:
            raise
        except Exception as error:
            # One of them cannot be written, say because its name is taken, or is of a kind that nobody thought of: the
            # others must not wait for it.
            if len(keys) > 1:
                parts = [await self.reconcile(frozenset({key})) for key in sorted(keys, key=_parents_first)]
                return frozenset().union(*parts)
            foreseen = isinstance(error, Rejected | Stale)
            log.warning("not written", key=next(iter(keys)), error=str(error), exc_info=not foreseen)
            return keys

    async def plan(self, keys: Iterable[str]) -> tuple[list[Op], dict[str, Decision]]:
        """What OVN lacks of these keys, and what was decided about Ports on the way."""
        desired: list[Row] = []
        decisions: dict[str, Decision] = {}
        for key in keys:
            match key.partition("/")[0]:
                case "Vpc" | "ClusterVpc":
                    desired += self._vpc(key)
                case "Subnet" | "ClusterSubnet":
                    desired += self._subnet(key)
                case "Port":
                    port = key.removeprefix("Port/")
                    rows, decision = await self._port(port)
                    desired += rows
                    if decision is not None:
                        decisions[port] = decision
        observed = [row for key in keys for row in self._northbound.of(key)]
        return difference(desired, observed), decisions

    async def _reconcile(self, keys: frozenset[str]) -> None:
        operations, decisions = await self.plan(keys)
        await self._commit(operations)  # none, too: who has been deposed must not ask nodes for anything either
        ports = {key.removeprefix("Port/") for key in keys if key.startswith("Port/")}
        for port in ports:
            later = self.waits.note(port, decisions.get(port), moment())
            if later is not None:
                self._again(f"Port/{port}", later)
        await self._asks.ask(ports, decisions)
        await self._evict(decisions)
        self._written(keys)

    async def _evict(self, decisions: dict[str, Decision]) -> None:
        for port, decision in decisions.items():
            if decision.evict:
                log.info("chassis taken off a port that they had left", port=port, chassis=sorted(decision.evict))
                try:
                    await self._southbound.evict(port, decision.evict)
                except OvnError as error:  # an OVN that guards its southbound database; peers then send all twice
                    log.warning("chassis not taken off", port=port, error=str(error))

    async def _commit(self, operations: list[Op]) -> None:
        began, result = time.perf_counter(), "error"
        try:
            await self._northbound.commit(operations)
            result = "ok"
        finally:
            if operations:
                self._committed.labels(result).observe(time.perf_counter() - began)

    def everything(self) -> list[str]:
        """Every key there is, also of rows whose resource is gone: what start-up and repair look at. Parents first."""
        store = self._store
        known = {
            *(vpc_id(vpc) for vpc in (*store.vpcs, *store.cluster_vpcs)),
            *(subnet_id(subnet.ref) for subnet in (*store.subnets, *store.cluster_subnets)),
            *port_keys(store.ports),
        }
        return sorted(known | {row.key.origin for row in self._northbound.observed()}, key=_parents_first)

    def _vpc(self, id_: str) -> list[Row]:
        """A router stays for as long as a Subnet names it, though its object be gone: guests use it."""
        vpc = self._store.vpc(id_)
        if vpc is not None:
            return vpc_rows(vpc)
        return self._northbound.of(id_) if self._store.inside(id_) else []

    def _subnet(self, id_: str) -> list[Row]:
        """A switch that guests use stays, whatever becomes of the objects; its condition says what is wrong."""
        subnet = self._store.subnet(subnet_of(id_))
        if subnet is None:
            return self._northbound.of(id_) if self._store.ports.of(id_) else []
        if not self._can_be_placed(subnet):
            return self._northbound.of(id_)
        return subnet_rows(subnet, pools_of(subnet), Beside.of(self._store.beside(subnet)))

    def _can_be_placed(self, subnet: Subnet | ClusterSubnet) -> bool:
        return obstacle(self._store, subnet) == ("", "")

    async def _port(self, key: str) -> tuple[list[Row], Decision | None]:
        port = self._store.ports.get(key)
        if port is None or self.conflict(port):
            return [], None
        subnet = self._store.subnet(port.spec.subnet)
        if subnet is None:
            return self._northbound.of(f"Port/{key}"), None
        if not self._can_be_placed(subnet) and not self._northbound.of(subnet_id(subnet.ref)):
            return [], None
        facts = self._facts(port)
        decision = self._decide(facts)
        if decision.ended is not None:
            try:
                await self._ended(key, decision.ended)
            except ApiError as error:
                log.warning("handoff not reported yet", port=key, error=str(error))
                self._again(f"Port/{key}", REPORT_RETRY)
                decision = unreported(decision.options, decision.ended)
        if decision.again is not None:
            self._again(f"Port/{key}", decision.again)
        own = own_dhcp(self._store, port, subnet, self._northbound.of(f"Port/{key}"))
        return [*own, *port_rows(port, subnet, decision.options)], decision

    def _facts(self, port: Port) -> Facts:
        store, fleet = self._store, self._store.fleet
        owner = port_owner(port)
        vmi = f"{port.namespace}/{port.spec.owner.name}" if port.spec.owner.kind != "Pod" else ""
        return Facts(
            instance=store.instance(vmi) if vmi else None,
            pods=tuple(pod.launcher for pod in store.pods.of(owner)),
            migrations=tuple(m.migration for m in store.migrations.of(vmi)) if vmi else (),
            binding=self._southbound.binding(port.key) or Binding(),
            options=self._options(port.key),
            chassis=fleet.chassis,
            gateless=fleet.gateless,
            strategies=fleet.strategies,
            told=store.told(port.key),
            now=datetime.now(UTC),
        )

    def _options(self, key: str) -> ChassisOptions:
        row = self._row(key)
        return read_chassis(row, ChassisOptions) if row else ChassisOptions()

    def _row(self, key: str) -> Row | None:
        """The port's row as OVN has it."""
        return next((row for row in self._northbound.of(f"Port/{key}") if row.key == port_key(key)), None)

    def conflict(self, port: Port) -> str:
        """Why this Port may not be in OVN: an address that it should hold is another's. Empty when none is."""
        for name, lease in leases_of(port.key, port.spec).items():
            found = self._store.leases.get(name)
            if found is not None and found.spec.holder.key != port.key:
                holder = found.spec.holder
                return f"{port.spec.subnet}: {lease.spec.address} is held by {holder}; request another address"
        return ""

    def view(self, key: str) -> PortView:
        """What people are told of a port."""
        port = self._store.ports.get(key)
        journal = Journal.read(self._options(key).journal)
        return PortView(
            in_ovn=self._row(key) is not None,
            chassis=(self._southbound.binding(key) or Binding()).chassis,
            journal=journal,
            told=self._store.told(key).get(journal.migration, Told()) if journal else Told(),
            wait=self.waits.text(key),
            conflict=self.conflict(port) if port else "",
            stuck=self.waits.stuck(key, moment()),
        )

    def addresses(self, key: str) -> frozenset[str]:
        """The addresses that OVN has on a port: MAC and IPs."""
        row = self._row(key)
        entries: Any = row.columns["addresses"] if row else ()
        return frozenset(word for entry in entries for word in entry.split())


def _parents_first(key: str) -> tuple[int, str]:
    kind = key.partition("/")[0]
    return (0 if kind.endswith("Vpc") else 1 if kind.endswith("Subnet") else 2, key)

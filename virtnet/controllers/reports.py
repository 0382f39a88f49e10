"""What people see: statuses, conditions and Events. Nothing here decides anything, so it may be late."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from virtnet.addressing.pools import LARGEST_COUNT, capacity, pools_of
from virtnet.api import Condition, HandoffRecord, Port, Resource, Spec, set_condition
from virtnet.api.addresses import family
from virtnet.controllers.fullness import full, fullness_conditions
from virtnet.controllers.informers import subnet_of
from virtnet.controllers.placement import held_up, obstacle
from virtnet.controllers.store import Store
from virtnet.controllers.stories import missing, record_of, story, with_record, without_lost
from virtnet.controllers.widths import too_narrow, widths_conditions
from virtnet.controllers.worker import each
from virtnet.handoff.facts import Told
from virtnet.handoff.journal import Journal
from virtnet.handoff.machine import Ending, Outcome
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound

log = structlog.get_logger()

COMPONENT = "virtnet-controller"
STUCK = "HandoffStuck"
"""Condition of a Port and reason of an Event: a handoff has waited for one thing for too long."""

ADDRESS_CONFLICT = "AddressConflict"
"""Condition of a Port and reason of an Event: a machine outside has an address of it."""


@dataclass(frozen=True)
class PortView:
    """What the reconciler of rows knows of a port."""

    in_ovn: bool
    chassis: str
    journal: Journal | None
    told: Told
    wait: str
    conflict: str
    stuck: str = ""
    """What it has waited for for too long."""


class Reports:
    """Writes the statuses of Ports, Subnets and Vpcs, and Events on VMs. The only writer of these."""

    def __init__(self, cluster: Cluster, store: Store, view: Callable[[str], PortView]) -> None:
        self._cluster = cluster
        self._store = store
        self._view = view
        self._over: dict[str, HandoffRecord] = {}
        """How each Port's last handoff ended: known here before it is written."""
        self._told: dict[str, str] = {}
        """Port -> the migration of the last ending that people have been told of."""

    async def reconcile(self, keys: frozenset[str]) -> frozenset[str]:
        """Report on each key, ``Kind/ns/name`` or ``Kind/name``; returns those that have to be tried again."""
        return await each(keys, self._report)

    async def _report(self, key: str) -> None:
        match key.partition("/")[0]:
            case "Port":
                await self._port(key.removeprefix("Port/"))
            case "Subnet" | "ClusterSubnet":
                await self._subnet(key)
            case "Vpc" | "ClusterVpc":
                await self._vpc(key)

    async def _port(self, key: str) -> None:
        port = self._store.ports.get(key)
        if port is None:
            self._over.pop(key, None)
            self._told.pop(key, None)
            return
        view = self._view(key)
        outside = "" if view.chassis else self._store.in_the_way(key)
        phase, ready, message = _phase(view, outside, held_up(self._store, port))
        handoffs = port.status.handoffs
        if over := self._over.get(key):
            handoffs = with_record(handoffs, over)
        if view.journal is not None:
            waits = f"waits for {view.wait}" if view.wait else ""
            record = record_of(view.journal, view.told, str(view.journal.state), message=waits)
            handoffs = with_record(handoffs, record)
        if view.in_ovn:
            handoffs = without_lost(handoffs, self._underway(port, view.journal), datetime.now(UTC))
        generation = port.metadata.generation
        conditions = set_condition(
            port.status.conditions, "Ready", status=ready, reason=phase, message=message, generation=generation
        )
        conditions = stuck_condition(conditions, view.stuck, generation)
        status = port.status.model_copy(
            update={
                "phase": phase,
                "node": self._store.fleet.names.get(view.chassis, ""),
                "handoffs": handoffs,
                "conditions": conflict_condition(conditions, outside, generation),
                "observed_generation": generation,
            }
        )
        stuck, outside_before = is_true(port, STUCK), is_true(port, ADDRESS_CONFLICT)
        await self._write(port, status)
        if view.stuck and not stuck:
            await self.event(port, STUCK, f"waits for {view.stuck}", warning=True)
        if outside and not outside_before:
            await self.event(port, ADDRESS_CONFLICT, outside, warning=True)

    def _underway(self, port: Port, journal: Journal | None) -> frozenset[str]:
        """UIDs of migrations that may still have something to tell of this port."""
        vmi = f"{port.namespace}/{port.spec.owner.name}"
        running = {one.migration.uid for one in self._store.migrations.of(vmi) if not one.migration.final}
        return frozenset(running | ({journal.migration} if journal else set()))

    async def _subnet(self, id_: str) -> None:
        subnet = self._store.subnet(subnet_of(id_))
        if subnet is None:
            return
        reason, message = obstacle(self._store, subnet)
        pools = pools_of(subnet) if reason != "Invalid" else ()
        addresses = [lease.spec.address for lease in self._store.leases.of(id_)]
        leased = Counter(map(family, addresses))
        narrow = too_narrow(subnet, self._store.nodes)
        kept = [len(pool.reservations.keys() - addresses) if pool.reservations else 0 for pool in pools]
        left = [pool.capacity - leased[pool.family] - others for pool, others in zip(pools, kept, strict=True)]
        generation = subnet.metadata.generation
        conditions = widths_conditions(subnet.status.conditions, narrow, generation)
        conditions = fullness_conditions(conditions, full(pools, addresses), generation)
        status = subnet.status.model_copy(
            update={
                "mtu": subnet.spec.guest_mtu,
                "gateways": tuple(str(pool.gateway) for pool in pools),
                "capacity": capacity(pools),
                "used": max(leased["IPv4"], leased["IPv6"]),
                "available": max(0, min([LARGEST_COUNT, *left])) if pools else 0,
                "conditions": set_condition(
                    conditions,
                    "Ready",
                    status=not reason,
                    reason=reason or "InOvn",
                    message=message,
                    generation=generation,
                ),
                "observed_generation": generation,
            }
        )
        await self._write(subnet, status, without=("cooling",))

    async def _vpc(self, id_: str) -> None:
        vpc = self._store.vpc(id_)
        if vpc is None:
            return
        inside = sorted(subnet.key for subnet in self._store.inside(id_))
        generation = vpc.metadata.generation
        conditions = set_condition(vpc.status.conditions, "Ready", status=True, reason="InOvn", generation=generation)
        status = vpc.status.model_copy(
            update={"subnets": tuple(inside), "conditions": conditions, "observed_generation": generation}
        )
        await self._write(vpc, status)

    async def _write(self, resource: Resource, status: Spec, *, without: tuple[str, ...] = ()) -> None:
        """Patch a status when it differs; whole, so that values going back to their defaults are written too."""
        if status == getattr(resource, "status", None):
            return
        patch = status.model_dump(mode="json", by_alias=True, exclude=set(without))
        kind = kinds.of(type(resource))
        try:
            body = await self._cluster.patch(
                kind, resource.name, {"status": patch}, resource.namespace, subresource="status"
            )
        except NotFound:
            return
        self._store.table(type(resource)).put(body)

    async def ended(self, key: str, ending: Ending) -> bool:
        """Write down how a handoff ended. Raises ApiError: its journal is kept until this has succeeded.

        Returns whether this is the first time: until OVN has taken what follows from it, it is decided again.
        """
        port = self._store.ports.get(key)
        if port is None:
            return False
        outcome, journal = ending.outcome, ending.journal
        over = self._over.get(key)
        if over is None or over.migration != journal.migration:
            now = datetime.now(UTC)
            finished = journal.settled or now
            over = record_of(journal, ending.told, str(outcome), message=story(ending, now), finished=finished)
            self._over[key] = over
        await self._write(port, port.status.model_copy(update={"handoffs": with_record(port.status.handoffs, over)}))
        if self._told.get(key) == journal.migration:
            return False
        self._told[key] = journal.migration
        await self.event(port, f"Handoff{outcome}", over.message, warning=outcome is not Outcome.COMMITTED)
        if outcome is Outcome.COMMITTED and ending.told.answered is None:
            await self.event(port, *missing(ending), warning=True)
        return True

    async def event(self, port: Port, reason: str, message: str, *, warning: bool = False) -> None:
        """An Event on the Port's owner."""
        kind, uid = self._owner(port)
        regarding = {
            "apiVersion": "v1" if kind == "Pod" else "kubevirt.io/v1",
            "kind": kind,
            "metadata": {"namespace": port.namespace, "name": port.spec.owner.name, "uid": uid},
        }
        text = f"NIC {port.spec.network}: {message}"
        await self._cluster.event(regarding, reason=reason, message=text, warning=warning, component=COMPONENT)

    def _owner(self, port: Port) -> tuple[str, str]:
        """Kind and UID of a Port's owner: `kubectl describe` shows an Event only where both are right."""
        owner = port.spec.owner
        key = f"{port.namespace}/{owner.name}"
        if owner.kind == "Pod":
            pod = self._store.pods.get(key)
            return owner.kind, pod.uid if pod else ""
        vm, instance = self._store.vms.get(key), self._store.instance(key)
        if vm is None and instance is not None:  # one without a VM
            return "VirtualMachineInstance", instance.uid
        return owner.kind, vm.uid if vm else ""


def _phase(view: PortView, outside: str, held: str) -> tuple[str, bool, str]:
    """Phase, whether the port is ready, and a sentence."""
    if view.conflict or outside:
        return "Conflict", False, view.conflict or outside
    if not view.in_ovn:
        return "Pending", False, held or "not written to OVN yet"
    if view.journal is not None:
        return "Migrating", True, f"waits for {view.wait}" if view.wait else ""
    if view.chassis:
        return "Bound", True, ""
    return "Unbound", True, "in OVN; no node has its interface"


def is_true(port: Port, condition: str) -> bool:
    return any(one.type == condition and one.status == "True" for one in port.status.conditions)


def conflict_condition(conditions: tuple[Condition, ...], outside: str, generation: int) -> tuple[Condition, ...]:
    """The conditions, with ``AddressConflict`` where a machine outside has an address of the Port, or has had."""
    if not outside and not any(one.type == ADDRESS_CONFLICT for one in conditions):
        return conditions
    reason = "UsedOutside" if outside else "Free"
    return set_condition(
        conditions, ADDRESS_CONFLICT, status=bool(outside), reason=reason, message=outside, generation=generation
    )


def stuck_condition(conditions: tuple[Condition, ...], stuck: str, generation: int) -> tuple[Condition, ...]:
    """The conditions, with ``HandoffStuck`` where a handoff is, or has been."""
    if not stuck and not any(one.type == STUCK for one in conditions):
        return conditions
    reason, message = ("Waiting", f"waits for {stuck}") if stuck else ("Moving", "")
    return set_condition(conditions, STUCK, status=bool(stuck), reason=reason, message=message, generation=generation)

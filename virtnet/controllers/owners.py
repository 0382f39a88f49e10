"""The reconciler of owners: VMs and pods -> Port objects and their leases."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from virtnet.api import AddressLease, Cooling, Port, PortSpec, SubnetRef
from virtnet.api.addresses import is_mac
from virtnet.api.meta import Metadata
from virtnet.api.names import ATTACHED_LABEL, OWNER_LABEL, label_value
from virtnet.controllers import ipam_claims
from virtnet.controllers.ownership import (
    Claim,
    desired_ports,
    open_claim,
    pinned_leases,
    plan_leases,
    plan_ports,
)
from virtnet.controllers.store import Store, subnet_id
from virtnet.controllers.views import Pod, Vm
from virtnet.handoff.guest import home_of
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import AlreadyExists, Conflict, NotFound
from virtnet.kube.kinds import PODS, VMS

log = structlog.get_logger()

PORTS = kinds.of(Port)
LEASES = kinds.of(AddressLease)
COOLING_KEPT = 256

Seen = tuple[Vm | None, list[Pod]]
"""What of an owner is looked at: its VM and its pods."""


class Owners:
    """Makes Port objects and leases follow their owners. The only writer of either, but for claims at admission."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        *,
        in_ovn: Callable[[str], frozenset[str]],
        changed: Callable[[Iterable[str]], None],
        conflict: Callable[[str, AddressLease], None],
        again: Callable[[str, timedelta], None],
        settle: Callable[[Iterable[str]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``in_ovn(port)``: the addresses that OVN has on a port. ``changed(ports)``: Ports were written.

        ``conflict(port, lease)``: a Port may not have an address. ``again(owner, delay)``: look at this owner again.
        ``settle(owners)``: look at these again when there is nothing else to do.
        """
        self._cluster = cluster
        self._store = store
        self._in_ovn = in_ovn
        self._changed = changed
        self._conflict = conflict
        self._again = again
        self._settle = settle
        self._clock = clock
        self._claims: dict[str, dict[Claim, float]] = {}
        """Per owner: open claims on its leases, and when each was first seen. In memory only: another controller begins
        to count anew.
        """
        self._cooling: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Per Subnet: its list of cooling addresses is read, and written whole."""

    async def reconcile(self, owner: str) -> None:
        """One owner, ``vm:ns/name`` or ``pod:ns/name``. Raises ApiError."""
        store = self._store
        self._note_claims(owner)
        kind, key = owner.split(":", 1)
        seen = vm, pods = self._seen(owner)
        if not all(pod.readable for pod in pods):
            log.warning("a pod's NICs cannot be read: nothing of its owner is touched", owner=owner)
            return
        instance = store.instance(key) if kind == "vm" else None
        migrations = [one.migration for one in store.migrations.of(key)]
        home = home_of(instance, [pod.launcher for pod in pods], migrations)
        present = store.ports.of(owner)
        keepers = {port.key: keeper for port in present if (keeper := store.keeper(port)) is not None}
        kept = [port for port in present if port.key in keepers]
        pods = sorted(pods, key=lambda pod: pod.launcher == home)
        desired = desired_ports(key, vm, pods, kept)
        plan = plan_ports(desired, present)
        for port, spec in plan.create.items():
            await self._create(port, spec)
        for port, spec in plan.update.items():
            await self._update(port, spec)
        for gone in plan.delete:
            await self._delete(gone)
        if plan.create:
            self._settle([owner])  # the leases are its own already: the Ports of others come first
            return
        pinned = pinned_leases(vm)
        uids = [*([vm.uid] if vm else []), *(keeper.uid for keeper in keepers.values()), *(pod.uid for pod in pods)]
        uid = next(iter(uids), "")
        for port in {
            *desired,
            *pinned,
            *(p.key for p in present),
            *(lease.spec.holder.key for lease in store.leases.of(owner)),
        }:
            free = await self._leases(owner, port, desired.get(port), pinned.get(port, frozenset()), uid)
            if any(map(open_claim, free)) and await self._has_come(owner, seen):
                return
            await self._free(free)
        await ipam_claims.fill(self._cluster, store, pods)

    def _note_claims(self, owner: str) -> None:
        known, now = self._claims.pop(owner, {}), self._clock()
        claims = [claim for lease in self._store.leases.of(owner) if (claim := open_claim(lease)) is not None]
        if claims:
            self._claims[owner] = {claim: known.get(claim, now) for claim in claims}

    def _age(self, owner: str, claim: Claim) -> timedelta:
        now = self._clock()
        return timedelta(seconds=now - self._claims.get(owner, {}).get(claim, now))

    async def _create(self, key: str, spec: PortSpec) -> None:
        namespace, name = key.split("/")
        labels = {OWNER_LABEL: label_value(spec.owner.name)}
        port = Port(metadata=Metadata(name=name, namespace=namespace, labels=labels), spec=spec)
        try:
            body = await self._cluster.create(PORTS, port.manifest(), namespace)
        except AlreadyExists:
            body = await self._cluster.get(PORTS, name, namespace)
        self._store.ports.put(body)
        self._changed([key])

    async def _update(self, key: str, spec: PortSpec) -> None:
        namespace, name = key.split("/")
        patch = {"spec": spec.model_dump(mode="json", by_alias=True)}
        self._store.ports.put(await self._cluster.patch(PORTS, name, patch, namespace))
        self._changed([key])

    async def _delete(self, port: Port) -> None:
        try:
            await self._cluster.delete(PORTS, port.name, port.namespace, uid=port.metadata.uid)
        except (NotFound, Conflict):
            log.info("port already gone", port=port.key)
        self._store.ports.bury(port.key, port.metadata.uid)
        self._changed([port.key])

    async def _leases(
        self, owner: str, port: str, spec: PortSpec | None, pinned: frozenset[str], uid: str
    ) -> list[AddressLease]:
        """Make and bind what a Port must hold; returns what nobody needs any more."""
        plan = plan_leases(
            port,
            spec,
            self._store.leases.of(port),
            self._store.leases.objects,
            pinned=pinned,
            owner_uid=uid,
            age=partial(self._age, owner),
        )
        for lease in plan.create:
            await self._claim(port, lease, uid)
        await asyncio.gather(*(self._bind(lease, uid) for lease in plan.bind))
        for lease in plan.conflicts:
            self._conflict(port, lease)
        if plan.again is not None:
            self._again(owner, plan.again)
        # What OVN still has on the port is freed when it has not; the port's own reconciler comes back here then.
        return [lease for lease in plan.free if lease.spec.address not in self._in_ovn(port)]

    async def _has_come(self, owner: str, seen: Seen) -> bool:
        """Whether an owner for whom a lease has waited in vain is there, and only the news of it was not.

        A watch may be behind by more than a lease waits, say while the API server has no time to list all VMs again.
        """
        kind, key = owner.split(":", 1)
        namespace, name = key.split("/")
        if kind == "vm":
            with contextlib.suppress(NotFound):
                self._store.vms.put(await self._cluster.get(VMS, name, namespace))
        pods, _ = await self._cluster.list(PODS, namespace, labels=f"{ATTACHED_LABEL}=true")
        for body in pods:
            if Pod.of(body).owner == owner:  # of others the watch has yet to tell
                self._store.pods.put(body)
        if self._seen(owner) == seen:
            return False
        log.info("owner had come, and no watch had told", owner=owner)
        self._changed(port.key for port in self._store.ports.of(owner))
        self._again(owner, timedelta())
        return True

    def _seen(self, owner: str) -> Seen:
        kind, key = owner.split(":", 1)
        return self._store.vms.get(key) if kind == "vm" else None, self._store.pods.of(owner)

    async def _claim(self, port: str, lease: AddressLease, uid: str) -> None:
        """Claim what the VM's manifest says it holds, though no lease says so: the lease was lost, or never made."""
        try:
            body = await self._cluster.create(LEASES, lease.manifest())
        except AlreadyExists:
            body = await self._cluster.get(LEASES, lease.name)
        self._store.leases.put(body)
        found = self._store.leases[lease.name]
        if found.spec.holder.key != port:
            self._conflict(port, found)
        else:
            await self._bind(found, uid)
            self._changed([port])

    async def _bind(self, lease: AddressLease, uid: str) -> None:
        status = {"phase": "Bound", "ownerUid": uid, "boundAt": datetime.now(UTC).isoformat()}
        try:
            body = await self._cluster.patch(
                LEASES, lease.name, {"metadata": {"uid": lease.metadata.uid}, "status": status}, subresource="status"
            )
        except NotFound:
            self._store.leases.remove(lease.name)
            raise
        self._store.leases.put(body)

    async def _free(self, leases: Iterable[AddressLease]) -> None:
        by_subnet: dict[str, list[AddressLease]] = defaultdict(list)
        for lease in leases:
            by_subnet[subnet_id(lease.spec.subnet)].append(lease)
        for freed in by_subnet.values():
            addresses = [lease.spec.address for lease in freed if not is_mac(lease.spec.address)]
            await self._cool(freed[0].spec.subnet, addresses)
            for lease in freed:
                await self._drop(lease)

    async def _drop(self, lease: AddressLease) -> None:
        """Delete a lease unless somebody has claimed it anew since we looked (its resourceVersion has moved)."""
        try:
            await self._cluster.delete(LEASES, lease.name, resource_version=lease.metadata.resource_version)
        except NotFound:
            log.info("lease already gone", lease=lease.name)
        self._store.leases.bury(lease.name, lease.metadata.uid)

    async def _cool(self, ref: SubnetRef, addresses: list[str]) -> None:
        """Write down that these addresses are not to be handed out again yet; before they are free, not after."""
        async with self._cooling[subnet_id(ref)]:
            await self._add_cooling(ref, addresses)

    async def _add_cooling(self, ref: SubnetRef, addresses: list[str]) -> None:
        subnet = self._store.subnet(ref)
        if subnet is None or not addresses or not subnet.spec.cooldown_seconds:
            return
        now = datetime.now(UTC).replace(microsecond=0)
        until = now + timedelta(seconds=subnet.spec.cooldown_seconds)
        kept = [c for c in subnet.status.cooling if c.until > now and c.address not in addresses]
        fresh = [Cooling(address=address, until=until) for address in addresses]
        cooling = [one.model_dump(mode="json") for one in (*kept, *fresh)][-COOLING_KEPT:]
        kind = kinds.of(type(subnet))
        patch = {"status": {"cooling": cooling}}
        try:
            body = await self._cluster.patch(kind, subnet.name, patch, subnet.namespace, subresource="status")
        except NotFound:
            return
        table = self._store.subnets if ref.kind == "Subnet" else self._store.cluster_subnets
        table.put(body)

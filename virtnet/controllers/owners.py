"""The reconciler of owners: VMs and pods -> Port objects and their leases."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakValueDictionary

import structlog
from pydantic import ValidationError

from virtnet.addressing.held import HeldAddress
from virtnet.api import AddressLease, ClusterSubnet, Cooling, Owner, Port, PortSpec, Subnet, SubnetRef
from virtnet.api.addresses import is_mac
from virtnet.api.meta import Metadata
from virtnet.api.names import ATTACHED_LABEL, OWNER_LABEL, label_value
from virtnet.controllers import ipam_claims
from virtnet.controllers.owner_plan import OwnerWork, Present, plan_owner, present_of
from virtnet.controllers.ownership import Claim, LeasePlan, open_claim
from virtnet.controllers.state import ControllerState
from virtnet.engine.due import Task
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.features.sources import CLUSTER_SUBNETS, LEASES, PORTS, SUBNETS, VM_KIND, subnet_key
from virtnet.features.workloads import Pod
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import AlreadyExists, Conflict, NotFound

log = structlog.get_logger()

PORT_KIND = kinds.of(Port)
LEASE_KIND = kinds.of(AddressLease)
COOLING_KEPT = 256


class Owners:
    """Makes Port objects and leases follow their owners. The only writer of either, but for claims at admission."""

    def __init__(
        self,
        cluster: Cluster,
        state: ControllerState,
        *,
        again: Callable[[Task, timedelta], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``again(task, delay)``: look at this owner again."""
        self._cluster = cluster
        self._state = state
        self._again = again
        self._clock = clock
        self._claims: dict[ObjectKey, dict[Claim, float]] = {}
        """Per owner: open claims on its leases, and when each was first seen. In memory only: another controller begins
        to count anew.
        """
        self._cooling: WeakValueDictionary[ObjectKey, asyncio.Lock] = WeakValueDictionary()
        """Per Subnet whose list of cooling addresses is being written: it is read, and written whole."""

    async def reconcile(self, task: Task) -> None:
        """Look at one owner. Raises ApiError."""
        owner = task.key
        self._note_claims(owner)
        work = self._state.graph.evaluate(task, self._plan)
        if work is None:
            log.warning("a pod's NICs cannot be read: nothing of its owner is touched", owner=str(owner))
            return
        if work.refused:
            log.warning("not granted", owner=str(owner), refused=dict(work.refused))
        for port, spec in work.ports.create.items():
            await self._create(port, spec)
        for port, spec in work.ports.update.items():
            await self._update(port, spec)
        for gone in work.ports.delete:
            await self._delete(gone)
        if work.ports.create:  # the leases are its own already: the Ports of others come first
            return
        for port, plan in work.leases.items():
            await self._leases(task, port, plan, work.uid)
            if any(map(open_claim, plan.free)) and await self._has_come(task, work.present):
                return
            await self._free(plan.free)
        await ipam_claims.fill(self._cluster, self._state, work.present.pods)
        if work.empty:
            self._state.graph.forget(task)

    def _plan(self, owner: ObjectKey, reader: Reader) -> OwnerWork | None:
        return plan_owner(owner, reader, lambda claim: self._age(owner, claim))

    def _note_claims(self, owner: ObjectKey) -> None:
        known, now = self._claims.pop(owner, {}), self._clock()
        leases = self._state.objects(LEASES).by(LEASES.indexes["owner"], owner)
        claims = [claim for lease in leases if (claim := open_claim(lease)) is not None]
        if claims:
            self._claims[owner] = {claim: known.get(claim, now) for claim in claims}

    def _age(self, owner: ObjectKey, claim: Claim) -> timedelta:
        now = self._clock()
        return timedelta(seconds=now - self._claims.get(owner, {}).get(claim, now))

    async def _create(self, key: str, spec: PortSpec) -> None:
        namespace, name = key.split("/")
        labels = {OWNER_LABEL: label_value(spec.owner.name)}
        port = Port(metadata=Metadata(name=name, namespace=namespace, labels=labels), spec=spec)
        try:
            body = await self._cluster.create(PORT_KIND, port.manifest(), namespace)
        except AlreadyExists as error:
            body = await self._cluster.get(PORT_KIND, name, namespace)
            if not _is_of(body, spec.owner):  # to be tried again later and later: it may go
                raise AlreadyExists(f"Port {key} is another owner's than {spec.owner}", code=409) from error
        self._state.put(PORT_KIND, body)
        if self._state.objects(PORTS).get(PORTS.key(key)) is None:  # one of a form that is no Port's
            await self._update(key, spec)

    async def _update(self, key: str, spec: PortSpec) -> None:
        namespace, name = key.split("/")
        patch = {"spec": spec.model_dump(mode="json", by_alias=True)}
        self._state.put(PORT_KIND, await self._cluster.patch(PORT_KIND, name, patch, namespace))

    async def _delete(self, port: Port) -> None:
        try:
            await self._cluster.delete(PORT_KIND, port.name, port.namespace, uid=port.metadata.uid)
        except (NotFound, Conflict):
            log.info("port already gone", port=port.key)
        self._state.discard_deleted(PORT_KIND, port.key, port.metadata.uid)

    async def _leases(self, task: Task, port: str, plan: LeasePlan, uid: str) -> None:
        """Make and bind what a Port must hold."""
        for lease in plan.create:
            await self._claim(port, lease, uid)
        await asyncio.gather(*(self._bind(lease, uid, plan.claims) for lease in plan.bind))
        if plan.again is not None:
            self._again(task, plan.again)

    async def _has_come(self, task: Task, present: Present) -> bool:
        """Whether an owner for whom a lease has waited in vain is there, and only the news of it was not.

        A watch may be behind by more than a lease waits, say while the API server has no time to list all VMs again.
        """
        owner = task.key
        if owner.kind == VM_KIND:
            with contextlib.suppress(NotFound):
                self._state.put(kinds.VMS, await self._cluster.get(kinds.VMS, owner.name, owner.namespace))
        pods, _ = await self._cluster.list(kinds.PODS, owner.namespace, labels=f"{ATTACHED_LABEL}=true")
        for body in pods:
            if Pod.of(body).owner == owner:  # of others the watch has yet to tell
                self._state.put(kinds.PODS, body)
        if self._state.graph.peek(lambda reader: present_of(owner, reader)) == present:
            return False
        log.info("owner had come, and no watch had told", owner=str(owner))
        self._again(task, timedelta())
        return True

    async def _claim(self, port: str, lease: AddressLease, uid: str) -> None:
        """Claim what the VM's manifest says it holds, though no lease says so: the lease was lost, or never made.

        To be called for what the Port would be granted at admission.
        """
        try:
            body = await self._cluster.create(LEASE_KIND, lease.manifest())
        except AlreadyExists:
            body = await self._cluster.get(LEASE_KIND, lease.name)
        self._state.put(LEASE_KIND, body)
        found = HeldAddress.of(body)
        if found.is_of(port, lease.spec.holder.owner):
            await self._bind(found, uid)

    async def _bind(self, lease: HeldAddress, uid: str, claims: Container[str] = ()) -> None:
        """``claims``: those whose VM or pod is there."""
        status = {"phase": "Bound", "ownerUid": uid, "boundAt": datetime.now(UTC).isoformat()}
        if lease.open_claim in claims:
            status["claim"] = lease.open_claim
        patch = {"metadata": {"uid": lease.uid}, "status": status}
        try:
            body = await self._cluster.patch(LEASE_KIND, lease.name, patch, subresource="status")
        except NotFound:
            self._state.discard_deleted(LEASE_KIND, lease.name, lease.uid)
            raise
        self._state.put(LEASE_KIND, body)

    async def _free(self, leases: Iterable[HeldAddress]) -> None:
        by_subnet: dict[ObjectKey, list[HeldAddress]] = defaultdict(list)
        for lease in leases:
            by_subnet[subnet_key(lease.subnet)].append(lease)
        for freed in by_subnet.values():
            ports = {lease.address: lease.port for lease in freed if lease.bound and not is_mac(lease.address)}
            await self._cool(freed[0].subnet, ports)
            for lease in freed:
                await self._drop(lease)

    async def _drop(self, lease: HeldAddress) -> None:
        """Delete a lease unless somebody has claimed it anew since we looked (its resourceVersion has moved)."""
        try:
            await self._cluster.delete(LEASE_KIND, lease.name, resource_version=lease.version)
        except NotFound:
            log.info("lease already gone", lease=lease.name)
        self._state.discard_deleted(LEASE_KIND, lease.name, lease.uid)

    async def _cool(self, ref: SubnetRef, ports: Mapping[str, str]) -> None:
        """Write down that addresses are not to be handed out again yet; before they are free, not after.

        ``ports``: address -> the Port that had it.
        """
        key = subnet_key(ref)
        async with self._cooling.setdefault(key, asyncio.Lock()):
            await self._add_cooling(key, ports)

    async def _add_cooling(self, key: ObjectKey, ports: Mapping[str, str]) -> None:
        collection = SUBNETS if key.kind == SUBNETS.kind else CLUSTER_SUBNETS
        subnet: Subnet | ClusterSubnet | None = self._state.objects(collection).get(key)
        if subnet is None or not ports or not subnet.spec.cooldown_seconds:
            return
        now = datetime.now(UTC).replace(microsecond=0)
        until = now + timedelta(seconds=subnet.spec.cooldown_seconds)
        kept = [c for c in subnet.status.cooling if c.until > now and c.address not in ports]
        fresh = [Cooling(address=address, until=until, port=port) for address, port in ports.items()]
        cooling = [one.model_dump(mode="json") for one in (*kept, *fresh)][-COOLING_KEPT:]
        kind = kinds.of(type(subnet))
        patch = {"status": {"cooling": cooling}}
        with contextlib.suppress(NotFound):
            body = await self._cluster.patch(kind, subnet.name, patch, subnet.namespace, subresource="status")
            self._state.put(kind, body)


def _is_of(port: Mapping[str, Any], owner: Owner) -> bool:
    """Whether a Port is an owner's. One of a form that is no Port's is nobody's, and is written anew."""
    try:
        return Port.parse(port).spec.owner.is_same(owner)
    except ValidationError:
        return True

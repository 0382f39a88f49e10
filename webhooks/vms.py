"""Pinning a VirtualMachine: its NICs on virtnet networks get addresses and MACs, or the manifest is refused."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from virtnet.addressing.pool import InvalidSubnet, Pool
from virtnet.addressing.wants import Asked, Refused, Want, want, without_twins
from virtnet.api import ClusterSubnet, Owner, Subnet, SubnetRef
from virtnet.api.kubevirt import InvalidRequest, nics, requested_addresses
from virtnet.api.multus import InvalidNetwork
from virtnet.api.names import PINNED, port_name
from virtnet.api.records import PinnedRecord
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound
from webhooks.cache import Cache, nad_subnet
from webhooks.claims import Claims

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Pinning:
    """What is to be written into the manifest."""

    annotation: str | None
    """The new value of the pinned record; None: there is to be none."""
    macs: Mapping[int, str] = field(default_factory=dict)
    """Index of the interface -> MAC."""


class Networks:
    """From a NAD's name to the Subnet that may be used through it."""

    def __init__(self, cluster: Cluster, cache: Cache) -> None:
        self._cluster = cluster
        self._cache = cache

    async def subnet(self, nad: str, namespace: str) -> Subnet | ClusterSubnet | None:
        """The Subnet of a NAD; None where it is another plugin's. Raises Refused, and ApiError."""
        ref = await self._reference(nad)
        if ref is None:
            return None
        found = self._cache.subnet(ref) or await self._fresh(ref)
        if found is None:
            raise Refused(f"NetworkAttachmentDefinition {nad} names {ref}, which does not exist; create it first")
        allowed = found.spec.allowed_namespaces
        if (ref.namespace and ref.namespace != namespace) or (allowed and namespace not in allowed):
            raise Refused(f"{ref} may not be used from namespace {namespace}; ask its owner to allow it", code=403)
        if found.spec.provider_network:
            raise Refused(f"{ref} is an underlay, which this version does not serve; use an overlay Subnet")
        return found

    async def _reference(self, nad: str) -> SubnetRef | None:
        if nad in self._cache.nads.objects:
            ref = self._cache.nads[nad]
        else:
            namespace, name = nad.split("/", 1)
            try:
                ref = nad_subnet(await self._cluster.get(kinds.NADS, name, namespace))
            except NotFound as error:
                raise Refused(f"NetworkAttachmentDefinition {nad} does not exist; create it first") from error
        if isinstance(ref, InvalidNetwork):
            raise Refused(str(ref))
        return ref

    async def _fresh(self, ref: SubnetRef) -> Subnet | ClusterSubnet | None:
        """Straight from the API server: a Subnet made a moment ago is not in memory yet."""
        model: type[Subnet | ClusterSubnet] = Subnet if ref.kind == "Subnet" else ClusterSubnet
        try:
            body = await self._cluster.get(kinds.of(model), ref.name, ref.namespace)
        except NotFound:
            return None
        (self._cache.subnets if ref.kind == "Subnet" else self._cache.cluster_subnets).put(body)
        return self._cache.subnet(ref)


def pool_of(subnet: Subnet | ClusterSubnet) -> Pool:
    """The Subnet's pool. Raises Refused."""
    try:
        return Pool.of(subnet)
    except InvalidSubnet as error:
        raise Refused(f"{subnet.ref} cannot be used: {error}") from error


class VmPinner:
    """Pins VMs. Holds nothing but its tools."""

    def __init__(self, cluster: Cluster, cache: Cache) -> None:
        self._cluster = cluster
        self._cache = cache
        self._networks = Networks(cluster, cache)

    async def pin(self, vm: Body, old: Body | None, *, dry_run: bool) -> Pinning | None:
        """What to write; None for nothing. Raises Refused and ApiError. Claims are undone when it raises."""
        metadata = vm["metadata"]
        if metadata.get("deletionTimestamp"):
            return None
        subnets = await self._subnets(vm)
        record = record_of(old) or record_of(vm)
        if not subnets:
            mine = record is not None and record.vm == f"{metadata['namespace']}/{metadata.get('name')}"
            return Pinning(None) if mine and PINNED in (metadata.get("annotations") or {}) else None
        if not metadata.get("name"):
            raise Refused("a VM on a virtnet network needs metadata.name: its addresses are held under its name")
        pools = {ref: pool_of(subnet) for ref, subnet in {s.ref: s for s in subnets.values()}.items()}
        wants = without_twins(self._wants(vm, subnets, pools, record))
        claims = Claims(self._cluster, self._cache, dry_run=dry_run, adopt=old is None)
        pinned = await claims.fulfil(wants, lambda one: pools[one.subnet])
        key = f"{metadata['namespace']}/{metadata['name']}"
        indices = {nic.network: nic.index for nic in nics(vm)}
        return Pinning(
            PinnedRecord(vm=key, nics=pinned).annotation(), {indices[name]: nic.mac for name, nic in pinned.items()}
        )

    async def _subnets(self, vm: Body) -> dict[str, Subnet | ClusterSubnet]:
        """Network name -> Subnet, of the NICs that are virtnet's."""
        namespace = vm["metadata"]["namespace"]
        found = {nic.network: await self._networks.subnet(nic.nad, namespace) for nic in nics(vm)}
        return {network: subnet for network, subnet in found.items() if subnet is not None}

    def _wants(
        self,
        vm: Body,
        subnets: Mapping[str, Subnet | ClusterSubnet],
        pools: Mapping[SubnetRef, Pool],
        record: PinnedRecord | None,
    ) -> Iterable[Want]:
        metadata = vm["metadata"]
        try:
            requested = requested_addresses(vm)
        except InvalidRequest as error:
            raise Refused(str(error)) from error
        for nic in nics(vm):
            if nic.network not in subnets:
                continue
            ref = subnets[nic.network].ref
            port = f"{metadata['namespace']}/{port_name(metadata['name'], nic.network)}"
            yield want(
                Asked(nic.network, nic.nad, nic.mac, requested.get(nic.network, ())),
                namespace=metadata["namespace"],
                owner=Owner(kind="VirtualMachine", name=metadata["name"]),
                subnet=ref,
                pool=pools[ref],
                record=record,
                held=self._cache.leases.of(port),
            )


def record_of(vm: Body | None) -> PinnedRecord | None:
    """The pinned record of a manifest; one that cannot be read was not written by virtnet, and says nothing."""
    if vm is None:
        return None
    try:
        return PinnedRecord.read((vm["metadata"].get("annotations") or {}).get(PINNED))
    except ValidationError:
        return None

"""Pinning a VirtualMachine: its NICs on virtnet networks get addresses and MACs, or the manifest is refused."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from virtnet.addressing.pool import Pool
from virtnet.addressing.wants import Asked, Past, Refused, Want, port_of, want, without_twins
from virtnet.api import ClusterSubnet, Owner, Subnet, SubnetRef
from virtnet.api.kubevirt import InvalidRequest, nics, requested_addresses
from virtnet.api.names import PINNED
from virtnet.api.records import PinnedNic, PinnedRecord
from virtnet.kube.client import Cluster
from webhooks.cache import Cache
from webhooks.claims import Claims
from webhooks.networks import Networks, usable_pools

Body = Mapping[str, Any]
Requests = Mapping[str, tuple[str, ...]]
"""Network name -> addresses that the manifest asks for."""


@dataclass(frozen=True)
class Pinning:
    """What is to be written into the manifest."""

    annotation: str | None
    """The new value of the pinned record; None: there is to be none."""
    macs: Mapping[int, str] = field(default_factory=dict)
    """Index of the interface -> MAC."""


class VmPinner:
    """Pins VMs. Holds nothing but its tools."""

    def __init__(self, cluster: Cluster, cache: Cache, networks: Networks) -> None:
        self._cluster = cluster
        self._cache = cache
        self._networks = networks

    async def pin(self, vm: Body, old: Body | None, *, dry_run: bool) -> Pinning | None:
        """What to write; None for nothing. Raises Refused and ApiError. Claims are undone when it raises."""
        metadata = vm["metadata"]
        if metadata.get("deletionTimestamp"):
            return None
        key = f"{metadata['namespace']}/{metadata['name']}"
        past = Past.of(key, record_of(vm), record_of(old))
        owner = Owner(kind="VirtualMachine", name=metadata["name"])
        pinned = await self.pinned(vm, owner, past, stored=old, dry_run=dry_run)
        if not pinned:
            stale = (past.stored or past.brought) and PINNED in (metadata.get("annotations") or {})
            return Pinning(None) if stale else None
        indices = {nic.network: nic.index for nic in nics(vm, self._networks.pod_network)}
        return Pinning(
            PinnedRecord(vm=key, nics=pinned).annotation(), {indices[name]: nic.mac for name, nic in pinned.items()}
        )

    async def pinned(
        self, vm: Body, owner: Owner, past: Past, *, stored: Body | None = None, dry_run: bool
    ) -> Mapping[str, PinnedNic]:
        """What each NIC on a virtnet network holds from now on, by network name. Raises Refused and ApiError."""
        namespace = vm["metadata"]["namespace"]
        reached = {
            nic.network: await self._networks.subnet(nic.nad, namespace) for nic in nics(vm, self._networks.pod_network)
        }
        subnets = {network: subnet for network, subnet in reached.items() if subnet is not None}
        if not subnets:
            return {}
        pools = {ref: usable_pools(subnet) for ref, subnet in {s.ref: s for s in subnets.values()}.items()}
        wants = without_twins(self._wants(vm, owner, subnets, pools, past=past, requests=_requests(vm, stored)))
        return await Claims(self._cluster, self._cache, dry_run=dry_run).fulfil(wants, lambda one: pools[one.subnet])

    def _wants(
        self,
        vm: Body,
        owner: Owner,
        subnets: Mapping[str, Subnet | ClusterSubnet],
        pools: Mapping[SubnetRef, tuple[Pool, ...]],
        *,
        past: Past,
        requests: Requests,
    ) -> Iterator[Want]:
        namespace = vm["metadata"]["namespace"]
        for nic in nics(vm, self._networks.pod_network):
            if nic.network not in subnets:
                continue
            ref = subnets[nic.network].ref
            yield want(
                Asked(nic.network, nic.nad, nic.mac, requests.get(nic.network, ())),
                namespace=namespace,
                owner=owner,
                subnet=ref,
                pools=pools[ref],
                past=past,
                held=self._cache.held(f"{namespace}/{port_of(owner, nic.network)}", ref),
            )


def _requests(vm: Body, stored: Body | None) -> Requests:
    """The addresses that a manifest asks for. Raises Refused."""
    try:
        return requested_addresses(vm, stored)
    except InvalidRequest as error:
        raise Refused(str(error)) from error


def record_of(vm: Body | None) -> PinnedRecord | None:
    """The pinned record of a manifest; one that cannot be read was not written by virtnet, and says nothing."""
    if vm is None:
        return None
    try:
        return PinnedRecord.read((vm["metadata"].get("annotations") or {}).get(PINNED))
    except ValidationError:
        return None

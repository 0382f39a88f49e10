"""Pinning a VirtualMachine: its NICs on virtnet networks get addresses and MACs, or the manifest is refused."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from virtnet.addressing.wants import Asked, Past, Refused, port_of, want, without_twins
from virtnet.api import Owner
from virtnet.api.kubevirt import InvalidRequest, asked_of_virtnet, interfaces, nics, requested_addresses
from virtnet.api.names import ADDRESSES, PINNED
from virtnet.api.records import PinnedNic, PinnedRecord
from virtnet.kube.client import Cluster
from webhooks.cache import Cache
from webhooks.claims import Claims
from webhooks.networks import Networks
from webhooks.routes import vm_routes

Body = Mapping[str, Any]
T = TypeVar("T")


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
        indices = {interface["name"]: n for n, interface in enumerate(interfaces(vm))}
        return Pinning(
            PinnedRecord(vm=key, nics=pinned).annotation(),
            {indices[name]: nic.mac for name, nic in pinned.items() if name in indices},
        )

    async def pinned(
        self, vm: Body, owner: Owner, past: Past, *, stored: Body | None = None, dry_run: bool
    ) -> Mapping[str, PinnedNic]:
        """What each NIC on a virtnet network holds from now on, by network name. Raises Refused and ApiError."""
        namespace = vm["metadata"]["namespace"]
        own = nics(vm, await self._networks.pod_network(namespace))
        reached = {nic.network: await self._networks.network(nic.nad, namespace) for nic in own}
        networks = {name: network for name, network in reached.items() if network is not None}
        if not networks:
            return {}
        unheard = sorted(_read(asked_of_virtnet, vm, stored) - networks.keys())
        if unheard:
            raise Refused(f"annotation {ADDRESSES}: NIC {unheard[0]} is on no network of virtnet; remove it there")
        pools = {network.subnet.ref: network.pools for network in networks.values()}
        routes, requests = vm_routes(vm, own, networks, stored), _read(requested_addresses, vm, stored)
        wants = without_twins(
            want(
                Asked(nic.network, nic.nad, nic.mac, requests.get(nic.network, ())),
                namespace=namespace,
                owner=owner,
                subnet=network.subnet.ref,
                pools=network.pools,
                past=past,
                held=self._cache.held(f"{namespace}/{port_of(owner, nic.network)}", network.subnet.ref),
            )
            for nic in own
            if (network := networks.get(nic.network)) is not None
        )
        claims = Claims(self._cluster, self._cache, dry_run=dry_run)
        found = await claims.fulfil(wants, lambda one: pools[one.subnet])
        return {name: nic.model_copy(update=routes[name]) for name, nic in found.items()}


def _read(ask: Callable[[Body, Body | None], T], vm: Body, stored: Body | None) -> T:
    """What a manifest asks for. Raises Refused where that cannot be read."""
    try:
        return ask(vm, stored)
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

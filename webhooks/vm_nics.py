"""What the NICs of one VM hold from now on: decided NIC by NIC, then claimed."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from virtnet.addressing.mac import normalise
from virtnet.addressing.pool import Pool
from virtnet.addressing.requests import (
    NicRequest,
    Past,
    Refused,
    RequestedNic,
    given_up,
    nic_request,
    port_of,
    without_duplicates,
)
from virtnet.api import Owner, SubnetRef
from virtnet.api.kubevirt import VmManifest, VmNic
from virtnet.api.names import MOST_NICS
from virtnet.api.records import PinnedNic
from virtnet.api.vm_requests import InvalidRequest, VmRequests
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from webhooks.cache import Cache
from webhooks.claims import Claims
from webhooks.networks import AdmittedNetwork, Networks, require_addresses
from webhooks.nic_kinds import kind_of, reaching, require_binding, with_device
from webhooks.routes import default_nic, vm_routes
from webhooks.tolerance import Tolerance


@dataclass(frozen=True)
class VmNics:
    """One VM's manifest, what it was, and what it is decided with."""

    cluster: Cluster
    cache: Cache
    networks: Networks
    vm: VmManifest
    owner: Owner
    past: Past
    stored: VmManifest | None
    """None on a create."""
    tolerance: Tolerance
    dry_run: bool

    async def pinned(self) -> Mapping[str, PinnedNic]:
        """What each NIC on a virtnet network holds from now on, by network name. Raises Refused and ApiError."""
        own = self.vm.nics(await self.networks.pod_network(self.vm.namespace))
        if len(own) > max(MOST_NICS, len(self.stored.declared) if self.stored else 0):
            raise Refused(f"the VM has {len(own)} NICs; give it at most {MOST_NICS}")
        reached: dict[str, AdmittedNetwork] = {}
        for nic in own:
            with self.tolerance.of(nic.network):
                network = await self.networks.network(nic.nad, self.vm.namespace)
                reached |= {nic.network: network} if network is not None else {}
        absent = [nic for nic in own if nic.network in self.tolerance.tolerated - self.tolerance.unchanged]
        if not reached and not absent:
            return self.tolerance.left
        requested = self._requested(reached)
        for nic in absent:
            _check_form(nic, requested)
        if not reached:
            return self.tolerance.left
        default = default_nic(
            own,
            {*reached, *self.tolerance.left},
            requested.routes,
            has_pod_network=self.vm.has_pod_network,
            unchanged=self.tolerance.unchanged | self.tolerance.tolerated,
        )
        requests, fields = self._requests([nic for nic in own if nic.network in reached], reached, requested, default)
        found = await self._claimed(requests, {one.subnet.ref: one.pools for one in reached.values()})
        left = {
            name: nic if name == default else nic.model_copy(update={"default_route": False})
            for name, nic in self.tolerance.left.items()
        }
        whole = left | {name: nic.model_copy(update=fields[name]) for name, nic in found.items()}
        return {nic.network: whole[nic.network] for nic in own if nic.network in whole}

    def _requested(self, reached: Mapping[str, AdmittedNetwork]) -> VmRequests:
        """What the manifest asks for. Raises Refused where that cannot be read, or is not for us to give."""
        try:
            newly = self.vm.newly_requested(self.stored)
            requested = self.vm.requests(self.stored)
        except InvalidRequest as error:
            raise Refused(str(error)) from error
        for name, annotation in sorted(newly.items()):
            if name not in reached and name not in self.tolerance.tolerated:
                raise Refused(f"annotation {annotation}: NIC {name} is on no network of virtnet; remove it there")
        return requested

    def _requests(
        self, nics: list[VmNic], reached: Mapping[str, AdmittedNetwork], requested: VmRequests, default: str
    ) -> tuple[list[NicRequest], dict[str, dict[str, Any]]]:
        """What is to be claimed, and the fields of each PinnedNic beside that, by network name. Raises Refused."""
        requests, fields = [], {}
        for nic in nics:
            network = reached[nic.network]
            with self.tolerance.of(nic.network):
                if nic.default:
                    require_addresses(network)
                kind = kind_of(
                    nic,
                    requested=requested.nics.get(nic.network, ""),
                    nad=network.nad.nic,
                    before=self.past.nic(nic.network),
                )
                if self.owner.kind != "VirtualMachine":
                    require_binding(nic, kind)
                with_device(kind, network.nad, f"NIC {nic.network}, by {nic.nad}")
                reaching(kind, network.subnet.spec, f"NIC {nic.network}")
                routes = vm_routes(nic, requested.routes.get(nic.network, ()), network, default=default)
                request = self._request(nic, requested.addresses.get(nic.network, ()), network)
                fields[nic.network] = {**routes, "nic": kind}
                requests.append(request)
        return requests, fields

    def _request(self, nic: VmNic, addresses: tuple[str, ...], network: AdmittedNetwork) -> NicRequest:
        ref, port = network.subnet.ref, port_of(self.owner, nic.network)
        return nic_request(
            RequestedNic(nic.network, nic.nad, nic.mac, addresses),
            namespace=self.vm.namespace,
            owner=self.owner,
            subnet=ref,
            pools=network.pools,
            past=self.past,
            held=self.cache.held(f"{self.vm.namespace}/{port}", ref),
            runs=self.stored is not None and self.stored.runs,
        )

    async def _claimed(
        self, requests: list[NicRequest], pools: Mapping[SubnetRef, tuple[Pool, ...]]
    ) -> dict[str, PinnedNic]:
        """What each request gets. Raises Refused and ApiError, and nothing stays claimed then."""
        unchanged = [one for one in requests if one.network in self.tolerance.unchanged]
        asking = [one for one in without_duplicates(requests) if one not in unchanged]
        claims = Claims(
            self.cluster,
            self.cache,
            dry_run=self.dry_run,
            given_up=given_up(self.past, requests, self.tolerance.left),
            is_stopped=self._is_stopped,
        )
        found = await claims.fulfil(asking, lambda one: pools[one.subnet])
        try:
            for one in unchanged:  # each for itself: what one of them is refused undoes no other's claims
                with self.tolerance.of(one.network):
                    alone = Claims(self.cluster, self.cache, dry_run=self.dry_run, granted=claims.granted)
                    found |= await alone.fulfil([one], lambda one: pools[one.subnet])
        except BaseException:
            await asyncio.shield(claims.undo())
            raise
        return found

    async def _is_stopped(self) -> bool:
        """Whether the VM has no instance."""
        return not await self.cluster.exists(kinds.VMIS, self.vm.name, self.vm.namespace)


def _check_form(nic: VmNic, requested: VmRequests) -> None:
    """Refuses what is asked for a NIC that no network of any kind could grant. Raises Refused."""
    kind_of(nic, requested=requested.nics.get(nic.network, ""), nad="", before=None)
    try:
        for address in requested.addresses.get(nic.network, ()):
            ip_address(address)
        if nic.mac:
            normalise(nic.mac)
    except ValueError as error:
        raise Refused(f"NIC {nic.network}: {error}") from error

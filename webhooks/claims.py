"""Claiming addresses: an AddressLease whose name is the address is created, or somebody else has it.

The API server decides every race, between replicas too; what is in memory only spares it hopeless attempts.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain

import structlog

from virtnet.addressing.mac import generate
from virtnet.addressing.pool import Pool
from virtnet.addressing.wants import Refused, Want, Wish
from virtnet.api import AddressLease, AddressLeaseSpec
from virtnet.api.lease import lease_name
from virtnet.api.meta import Metadata
from virtnet.api.names import CLAIMED_AT
from virtnet.api.records import PinnedNic
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import AlreadyExists, ApiError, NotFound
from webhooks.cache import Cache

log = structlog.get_logger()

LEASES = kinds.of(AddressLease)
MAC_ATTEMPTS = 64


@dataclass
class Claims:
    """The claims of one admission request. ``undo`` releases what it has claimed, and nothing that was there before."""

    cluster: Cluster
    cache: Cache
    dry_run: bool
    adopt: bool
    """Whether leases that are there may be those of an earlier owner of this name, about to be freed."""
    made: list[AddressLease] = field(default_factory=list)

    async def fulfil(self, wants: Iterable[Want], pools: Callable[[Want], Pool]) -> dict[str, PinnedNic]:
        """What each NIC gets, by network name. Raises Refused, after undoing what was claimed, and ApiError."""
        try:
            return {one.network: await self._nic(one, pools(one)) for one in wants}
        except BaseException:
            await asyncio.shield(self.undo())
            raise

    async def undo(self) -> None:
        for lease in self.made:
            try:
                await self.cluster.delete(LEASES, lease.name, uid=lease.metadata.uid)
                self.cache.leases.bury(lease.name, lease.metadata.uid)
            except ApiError as error:
                log.warning("claim not undone, it will expire", lease=lease.name, error=str(error))

    async def _nic(self, want: Want, pool: Pool) -> PinnedNic:
        mac = await self._get(want, want.mac, self._macs(want))
        address = await self._get(want, want.address, self._addresses(want, pool))
        return PinnedNic(network_attachment_definition=want.nad, subnet=want.subnet, mac=mac, addresses=(address,))

    async def _get(self, want: Want, wish: Wish, others: Iterator[str]) -> str:
        """The first address that can be claimed: what is insisted on or nothing; else what is preferred, else any."""
        if wish.exactly:
            holder = await self._claim(want, wish.exactly)
            if holder is not None:
                raise Refused(
                    f"{want.subnet}: {wish.exactly} is held by {holder.spec.holder}; "
                    "choose another or remove the request",
                    code=409,
                )
            return wish.exactly
        for address in chain(wish.rather, others):
            if await self._claim(want, address) is None:
                return address
        raise Refused(
            f"{want.subnet}: no address is left for NIC {want.network}; "
            "delete VMs that are not needed, or extend the Subnet's ranges",
            code=409,
        )

    def _addresses(self, want: Want, pool: Pool) -> Iterator[str]:
        subnet = self.cache.subnet(want.subnet)
        cooling = {one.address: one.until for one in subnet.status.cooling} if subnet else {}
        taken = _Taken(self.cache, want)
        return pool.candidates(want.seed, taken, cooling, datetime.now(UTC))

    def _macs(self, want: Want) -> Iterator[str]:
        taken = _Taken(self.cache, want)
        return (mac for n in range(MAC_ATTEMPTS) if (mac := generate(want.seed, n)) not in taken)

    async def _claim(self, want: Want, address: str) -> AddressLease | None:
        """Claim one address. None: it is this Port's now; else the lease of whoever holds it."""
        name = lease_name(address, want.subnet)
        known = self.cache.leases.get(name)
        if known is not None:
            if known.spec.holder.key == want.holder.key and (not self.adopt or await self._adopted(known)):
                return None
            if known.spec.holder.key != want.holder.key and not await self._gone(known):
                return known
        lease = AddressLease(
            metadata=Metadata(name=name),
            spec=AddressLeaseSpec(address=address, subnet=want.subnet, holder=want.holder),
        )
        try:
            body = await self.cluster.create(LEASES, lease.manifest(), dry_run=self.dry_run)
        except AlreadyExists:
            return await self._other(want, name)
        if not self.dry_run:
            self.made.append(AddressLease.parse(body))
            self.cache.leases.put(body)
        return None

    async def _other(self, want: Want, name: str) -> AddressLease | None:
        """Whoever has the lease that memory did not know of; None where it is this Port, or nobody any more."""
        try:
            body = await self.cluster.get(LEASES, name)
        except NotFound as error:
            raise Refused(f"{want.subnet}: lease {name} is just being freed; try again", code=503) from error
        self.cache.leases.put(body)
        found = AddressLease.parse(body)
        if found.spec.holder.key != want.holder.key:
            return found
        return None if not self.adopt or await self._adopted(found) else found

    async def _adopted(self, lease: AddressLease) -> bool:
        """Touch a lease of this Port, so that whoever frees it for an owner of the same name looks again."""
        if self.dry_run:
            return True
        patch = {"metadata": {"annotations": {CLAIMED_AT: datetime.now(UTC).isoformat()}}}
        try:
            self.cache.leases.put(await self.cluster.patch(LEASES, lease.name, patch))
        except NotFound:
            self.cache.leases.remove(lease.name)
            return False
        return True

    async def _gone(self, lease: AddressLease) -> bool:
        """Whether a lease in memory is gone in truth: a request is not refused for what was freed a moment ago."""
        try:
            self.cache.leases.put(await self.cluster.get(LEASES, lease.name))
        except NotFound:
            self.cache.leases.remove(lease.name)
            return True
        return False


class _Taken:
    """The addresses of a Subnet that others hold, as far as memory knows."""

    def __init__(self, cache: Cache, want: Want) -> None:
        self._leases = cache.leases
        self._want = want

    def __contains__(self, address: object) -> bool:
        return lease_name(str(address), self._want.subnet) in self._leases.objects

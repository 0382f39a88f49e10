"""Claiming addresses: an AddressLease whose name is the address is created, or somebody else has it.

The API server decides every race, between replicas too; what is in memory only spares it hopeless attempts.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

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
from virtnet.kube.errors import AlreadyExists, ApiError, Conflict, NotFound
from webhooks.cache import Cache, Lease

log = structlog.get_logger()

T = TypeVar("T")

LEASES = kinds.of(AddressLease)
MAC_ATTEMPTS = 64


@dataclass
class Claims:
    """The claims of one admission request. ``undo`` releases what it has claimed, and nothing that was there before."""

    cluster: Cluster
    cache: Cache
    dry_run: bool
    made: list[AddressLease] = field(default_factory=list)
    granted: set[str] = field(default_factory=set)
    """Names of the leases that this request has, so that a dry run does not give its NICs the same address either."""

    async def fulfil(self, wants: Iterable[Want], pools: Callable[[Want], Sequence[Pool]]) -> dict[str, PinnedNic]:
        """What each NIC gets, by network name. Raises Refused, after undoing what was claimed, and ApiError.

        What is insisted on is claimed first: no NIC may get by choice what the VM's other NIC asks for.
        """
        wants = tuple(wants)
        try:
            insisted = [(one, wish) for one in wants for wish in (one.mac, *one.addresses) if wish.exactly]
            await together(self._insist(one, wish) for one, wish in insisted)
            chosen = await together(self._nic(one, pools(one)) for one in wants)
        except BaseException:
            await asyncio.shield(self.undo())
            raise
        return {one.network: nic for one, nic in zip(wants, chosen, strict=True)}

    async def undo(self) -> None:
        for lease in self.made:
            version = lease.metadata.resource_version
            try:
                await self.cluster.delete(LEASES, lease.name, uid=lease.metadata.uid, resource_version=version)
                self.cache.leases.bury(lease.name, lease.metadata.uid)
            except (Conflict, NotFound):  # the same VM was created again meanwhile, and has it now
                log.info("claim taken over", lease=lease.name)
            except ApiError as error:
                log.warning("claim not undone, it will expire", lease=lease.name, error=str(error))

    async def _nic(self, want: Want, pools: Sequence[Pool]) -> PinnedNic:
        mac, *addresses = await together(
            (
                self._choose(want, want.mac, lambda: self._macs(want)),
                *(
                    self._choose(want, wish, partial(self._free, want, pool))
                    for wish, pool in zip(want.addresses, pools, strict=True)
                ),
            )
        )
        for address, pool in zip(addresses, pools, strict=True):
            if not address:
                raise Refused(
                    f"{want.subnet}: no {pool.family} address is left for NIC {want.network} of its {pool.capacity}; "
                    "delete VMs that are not needed, or extend the Subnet's ranges",
                    code=409,
                )
        if not mac:
            raise Refused(f"{want.subnet}: no MAC was found for NIC {want.network}; set its macAddress", code=409)
        return PinnedNic(
            network_attachment_definition=want.nad, subnet=want.subnet, mac=mac, addresses=tuple(addresses)
        )

    async def _insist(self, want: Want, wish: Wish) -> None:
        lease = await self._claim(want, wish.exactly)
        if lease is not None:
            raise Refused(
                f"{want.subnet}: {wish.exactly} is held by {lease.holder}; choose another or remove the request",
                code=409,
            )

    async def _choose(self, want: Want, wish: Wish, others: Callable[[], Iterator[str]]) -> str:
        """What is insisted on, which is claimed by now; else the first that can be: of the preferred, then of any.

        Before there is none left, what other requests are claiming has to be decided: they may fail.
        """
        if wish.exactly:
            return wish.exactly
        for address in wish.rather:
            if lease_name(address, want.subnet) not in self.granted and await self._claim(want, address) is None:
                return address
        while True:
            for address in others():
                if lease_name(address, want.subnet) not in self.granted and await self._claim(want, address) is None:
                    return address
            if not await self.cache.underway.settled(want.subnet):
                return ""

    def _free(self, want: Want, pool: Pool) -> Iterator[str]:
        subnet = self.cache.subnet(want.subnet)
        cooling = {one.address: one.until for one in subnet.status.cooling} if subnet else {}
        return pool.candidates(want.seed, _Taken(self.cache, want), cooling, datetime.now(UTC))

    def _macs(self, want: Want) -> Iterator[str]:
        taken = _Taken(self.cache, want)
        return (mac for n in range(MAC_ATTEMPTS) if (mac := generate(want.seed, n)) not in taken)

    async def _claim(self, want: Want, address: str) -> Lease | None:
        """Claim one address. None: it is this Port's now; else the lease of whoever holds it."""
        name = lease_name(address, want.subnet)
        known = self.cache.leases.get(name)
        if known is not None and known.port != want.holder.key:
            known = await self._live(name)  # nothing is refused for the sake of what was freed a moment ago
        if known is not None and known.port != want.holder.key:
            return known
        if known is not None and await self._kept(want, known):
            return None
        lease = AddressLease(
            metadata=Metadata(name=name),
            spec=AddressLeaseSpec(address=address, subnet=want.subnet, holder=want.holder),
        )
        with self.cache.underway.claim(name, want.subnet):
            try:
                body = await self.cluster.create(LEASES, lease.manifest(), dry_run=self.dry_run)
            except AlreadyExists:
                return await self._other(want, name)
            self.granted.add(name)
            if not self.dry_run:
                self.cache.leases.put(body)
            if not self.dry_run and address not in want.settled:
                self.made.append(AddressLease.parse(body))
        return None

    async def _other(self, want: Want, name: str) -> Lease | None:
        """Whoever has the lease that memory did not know of; None where it is this Port."""
        found = await self._live(name)
        if found is not None and found.port != want.holder.key:
            return found
        if found is None or not await self._kept(want, found):
            raise Refused(f"{want.subnet}: lease {name} is just being freed; try again", code=503)
        return None

    async def _live(self, name: str) -> Lease | None:
        """A lease as the API server has it."""
        try:
            self.cache.leases.put(await self.cluster.get(LEASES, name))
        except NotFound:
            self.cache.leases.remove(name)
        return self.cache.leases.get(name)

    async def _kept(self, want: Want, lease: Lease) -> bool:
        """Whether a lease of this Port stays its own.

        What no stored manifest speaks for may be about to be freed, for an earlier owner of the same name or because it
        was given up a moment ago. So the lease is touched: whoever frees it has then to look again.
        """
        if not self.dry_run and lease.address not in want.settled:
            # The uid: another's lease of the same name, which memory does not know of yet, must not be taken for ours.
            patch = {"metadata": {"uid": lease.uid, "annotations": {CLAIMED_AT: datetime.now(UTC).isoformat()}}}
            try:
                self.cache.leases.put(await self.cluster.patch(LEASES, lease.name, patch))
            except (NotFound, Conflict):
                self.cache.leases.remove(lease.name)
                return False
        self.granted.add(lease.name)
        return True


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all, when all have ended; then the first failure is raised.

    A claim is not cancelled because another failed: nobody would know whether it was made.
    """
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


class _Taken:
    """The addresses of a Subnet that others hold or are claiming, as far as memory knows."""

    def __init__(self, cache: Cache, want: Want) -> None:
        self._cache = cache
        self._want = want

    def __contains__(self, address: object) -> bool:
        name = lease_name(str(address), self._want.subnet)
        return name in self._cache.leases.objects or name in self._cache.underway

"""Claiming addresses: an AddressLease whose name is the address is created, or somebody else has it.

The API server decides every race, between replicas too; what is in memory only spares it hopeless attempts.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

import structlog

from virtnet.addressing.held import HeldAddress
from virtnet.addressing.mac import generate
from virtnet.addressing.pool import Pool
from virtnet.addressing.requests import AddressRequest, NicRequest, Refused
from virtnet.api import AddressLease, AddressLeaseSpec
from virtnet.api.addresses import is_mac
from virtnet.api.lease import lease_name
from virtnet.api.meta import Metadata
from virtnet.api.names import CLAIM
from virtnet.api.records import PinnedNic
from virtnet.features.macs import mac_refusal, others_on_segment, user_of
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import AlreadyExists, ApiError, Conflict, NotFound
from webhooks.cache import Cache
from webhooks.one_more import refuse_one_more
from webhooks.taking_back import take_back
from webhooks.together import together

log = structlog.get_logger()

LEASES = kinds.of(AddressLease)
MAC_ATTEMPTS = 64
CREATED_AT_ONCE = 16


@dataclass
class Claims:
    """The claims of one admission request. ``undo`` releases what it has claimed, and nothing that was there before."""

    cluster: Cluster
    cache: Cache
    dry_run: bool
    made: list[AddressLease] = field(default_factory=list)
    granted: set[str] = field(default_factory=set)
    """Names of the leases that this request has, so that a dry run does not give its NICs the same address either."""
    given_up: frozenset[str] = frozenset()
    """Names of the leases that the VM's other NICs give up by this very write."""
    claim: str = field(default_factory=lambda: uuid4().hex)
    """What leases that are claimed again are marked with, and the manifest of whoever claims them."""
    marked: set[str] = field(default_factory=set)
    """The networks of the NICs that have such leases."""
    creating: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CREATED_AT_ONCE))
    """Each create takes a connection, and more of them at once make the API server no quicker."""
    is_stopped: Callable[[], Awaitable[bool]] | None = None
    """Whether no guest uses them any more. To be asked only where that matters."""

    async def fulfil(
        self, requests: Iterable[NicRequest], pools: Callable[[NicRequest], Sequence[Pool]]
    ) -> dict[str, PinnedNic]:
        """What each NIC gets, by network name. Raises Refused, after undoing what was claimed, and ApiError.

        What is required on is claimed first: no NIC may get by choice what the VM's other NIC asks for.
        """
        requests = tuple(requests)
        try:
            required = [(one, request) for one in requests for request in (one.mac, *one.addresses) if request.required]
            await together(self._require(one, request) for one, request in required)
            chosen = await together(self._nic(one, pools(one)) for one in requests)
        except BaseException:
            await asyncio.shield(self.undo())
            raise
        return {one.network: pinned for one, pinned in zip(requests, chosen, strict=True)}

    async def undo(self) -> None:
        for lease in self.made:
            await self._release(lease)

    async def _release(self, lease: AddressLease) -> None:
        version = lease.metadata.resource_version
        try:
            await self.cluster.delete(LEASES, lease.name, uid=lease.metadata.uid, resource_version=version)
            self.cache.leases.discard_deleted(lease.name, lease.metadata.uid)
        except (Conflict, NotFound):  # the same VM was created again meanwhile, and has it now
            log.info("claim taken over", lease=lease.name)
        except ApiError as error:
            log.warning("claim not undone, it will expire", lease=lease.name, error=str(error))

    async def _nic(self, nic: NicRequest, pools: Sequence[Pool]) -> PinnedNic:
        wanted = zip(nic.addresses, pools, strict=True)
        chosen = (self._choose(nic, one, partial(self._free, nic, pool), pool.family) for one, pool in wanted)
        mac, *addresses = await together((self._choose(nic, nic.mac, partial(self._macs, nic), "MAC"), *chosen))
        for address, pool in zip(addresses, pools, strict=True):
            if not address:
                raise Refused(
                    f"{nic.subnet}: no {pool.family} address is left for NIC {nic.network} of its {pool.capacity}; "
                    "delete VMs that are not needed, or extend the Subnet's ranges",
                    code=409,
                )
        if not mac:
            raise Refused(f"{nic.subnet}: no MAC was found for NIC {nic.network}; set its macAddress", code=409)
        return PinnedNic(
            network_attachment_definition=nic.nad,
            subnet=nic.subnet,
            mac=mac,
            addresses=tuple(addresses),
            claim=self.claim if nic.network in self.marked else nic.claim,
        )

    async def _require(self, nic: NicRequest, request: AddressRequest) -> None:
        if user := self._user_of(nic, request.required):
            raise Refused(mac_refusal(nic.subnet, request.required, user), code=409)
        lease = await self._claim(nic, request.required)
        if lease is None:
            return
        cure = "choose another or remove the request"
        own = lease.owner == nic.holder.owner_title
        if request.of_guest:
            cure = (
                f"the guest that runs cannot take another MAC; stop the VM before you move its NIC {nic.network} there"
            )
        elif own and lease.name in self.given_up:
            if await self._moved(nic, lease):
                return
            cure = "the guest still uses it there; stop the VM, and write this again"
        elif own:
            cure = (
                f"an address stays with its NIC: write the VM without NIC {lease.network}, and ask for it when "
                f"kubectl get addressleases has no {lease.name} any more"
            )
        where = "" if lease.subnet == nic.subnet else f" in {lease.subnet} on the same VLAN"
        holder = lease.holder_for(nic.holder.namespace)
        raise Refused(f"{nic.subnet}: {request.required} is held by {holder}{where}; {cure}", code=409)

    async def _moved(self, nic: NicRequest, lease: HeldAddress) -> bool:
        """Whether what another NIC of the same VM gives up is this one's now. A lease does not change: it is made anew.

        Where the write is refused after all, the controller finds it missing, and claims it for the other NIC again.
        """
        if self.is_stopped is None or not await self.is_stopped():
            return False
        if self.dry_run:
            self.granted.add(lease.name)
            return True
        try:
            await self.cluster.delete(LEASES, lease.name, uid=lease.uid, resource_version=lease.version)
        except (Conflict, NotFound):
            return False
        self.cache.leases.discard_deleted(lease.name, lease.uid)
        return await self._claim(nic, lease.address) is None

    async def _choose(
        self, nic: NicRequest, request: AddressRequest, others: Callable[[], Iterator[str]], kind: str
    ) -> str:
        """What is required on, which is claimed by now; else the first that can be: of the preferred, then of any.

        Before there is none left, what other requests are claiming has to be decided: they may fail. And what is held
        for VMs and pods that never came is taken back.
        """
        if request.required:
            return request.required
        for address in request.preferred:
            taken = lease_name(address, nic.subnet) in self.granted or self._user_of(nic, address)
            if not taken and await self._claim(nic, address) is None:
                return address
        while True:
            for address in others():
                if self._untried(nic, address) and await self._claim(nic, address) is None:
                    return address
            if await self.cache.pending_claims.settled(nic.subnet):
                continue
            every = self.cache.leases.reservations.overdue(nic.subnet, [kind])
            overdue = (lease for lease in every if lease.name not in self.granted)
            freed = await take_back(self.cluster, self.cache.leases, overdue, dry_run=self.dry_run)
            if freed is None:
                return ""
            if self.dry_run:
                self.granted.add(freed.name)
                return freed.address

    def _free(self, nic: NicRequest, pool: Pool) -> Iterator[str]:
        subnet = self.cache.subnet(nic.subnet)
        cooling = {one.address: one for one in subnet.status.cooling} if subnet else {}
        own = frozenset(address for address, one in cooling.items() if one.port == nic.holder.key)
        others = {address: one.until for address, one in cooling.items() if address not in own}
        taken = self.cache.leases.occupied(nic.subnet, pool.network.version)
        return pool.candidates(nic.seed, taken, others, datetime.now(UTC), first=own)

    def _macs(self, nic: NicRequest) -> Iterator[str]:
        macs = (generate(f"{self.cache.cluster_uid}/{nic.seed}", number) for number in range(MAC_ATTEMPTS))
        return (mac for mac in macs if self._is_free(nic, mac))

    def _is_free(self, nic: NicRequest, mac: str) -> bool:
        return self.cache.leases.get(lease_name(mac, nic.subnet)) is None and not self._user_of(nic, mac)

    def _user_of(self, nic: NicRequest, address: str) -> str:
        """Who uses a MAC without a lease; a NIC that holds it already keeps it."""
        subnet = self.cache.subnet(nic.subnet)
        if subnet is None or not is_mac(address) or address in nic.settled:
            return ""
        return self.cache.graph.peek(lambda reader: user_of(address, subnet, reader))

    def _untried(self, nic: NicRequest, address: str) -> bool:
        """Whether neither this request has an address, nor another one of this process is claiming it."""
        name = lease_name(address, nic.subnet)
        return name not in self.granted and name not in self.cache.pending_claims

    async def _claim(self, nic: NicRequest, address: str) -> HeldAddress | None:
        """Claim one address. None: it is this Port's now; else the lease of whoever holds it."""
        name = lease_name(address, nic.subnet)
        known = self.cache.leases.get(name)
        if known is not None and not known.is_of(nic.holder.key, nic.holder.owner):
            known = await self._live(name)  # nothing is refused for the sake of what was freed a moment ago
        if known is not None and not known.is_of(nic.holder.key, nic.holder.owner):
            return known
        if known is not None and await self._kept(nic, known):
            return None
        if (other := await self._on_same_segment(nic, address, live=False)) is not None:
            return other
        await refuse_one_more(nic, address, self.cluster, self.cache, dry_run=self.dry_run)
        lease = AddressLease(
            metadata=Metadata(name=name),
            spec=AddressLeaseSpec(address=address, subnet=nic.subnet, holder=nic.holder),
        )
        with self.cache.pending_claims.claim(name, nic.subnet):
            try:
                async with self.creating:
                    body = await self.cluster.create(LEASES, lease.manifest(), dry_run=self.dry_run)
            except AlreadyExists:
                return await self._other(nic, name)
            made = AddressLease.parse(body)
            if not self.dry_run:
                self.cache.leases.put(body)
            if (other := await self._on_same_segment(nic, address, live=True)) is not None:
                if not self.dry_run:
                    await self._release(made)
                return other
            self.granted.add(name)
            if not self.dry_run and address not in nic.settled:
                self.made.append(made)
        return None

    async def _on_same_segment(self, nic: NicRequest, address: str, *, live: bool) -> HeldAddress | None:
        """Another Port's lease of a MAC, in another Subnet of the same segment; None where there is none.

        Of two that claim it at once each makes its lease, and then looks for the other's: at least one finds it.
        """
        subnet = self.cache.subnet(nic.subnet)
        if subnet is None or not is_mac(address) or address in nic.settled:
            return None
        for ref in self.cache.graph.peek(lambda reader: others_on_segment(subnet, reader)):
            name = lease_name(address, ref)
            known = await self._live(name) if live or self.cache.leases.get(name) is not None else None
            if known is not None and known.port != nic.holder.key:
                return known
        return None

    async def _other(self, nic: NicRequest, name: str) -> HeldAddress | None:
        """Whoever has the lease that memory did not know of; None where it is this Port."""
        found = await self._live(name)
        if found is not None and not found.is_of(nic.holder.key, nic.holder.owner):
            return found
        if found is None or not await self._kept(nic, found):
            raise Refused(f"{nic.subnet}: lease {name} is just being freed; try again", code=503)
        return None

    async def _live(self, name: str) -> HeldAddress | None:
        """A lease as the API server has it."""
        try:
            self.cache.leases.put(await self.cluster.get(LEASES, name))
        except NotFound:
            self.cache.leases.remove(name)
        return self.cache.leases.get(name)

    async def _kept(self, nic: NicRequest, lease: HeldAddress) -> bool:
        """Whether a lease of this Port stays its own.

        What no stored manifest speaks for may be about to be freed, for an earlier owner of the same name or because it
        was given up a moment ago. So the lease is marked: whoever frees it has then to look again, and to wait until
        somebody has come who says the same.
        """
        if not self.dry_run and lease.address not in nic.settled:
            # The uid: another's lease of the same name, which memory does not know of yet, must not be taken for ours.
            patch = {"metadata": {"uid": lease.uid, "annotations": {CLAIM: self.claim}}}
            try:
                self.cache.leases.put(await self.cluster.patch(LEASES, lease.name, patch))
            except (NotFound, Conflict):
                self.cache.leases.remove(lease.name)
                return False
            self.marked.add(nic.network)
        self.granted.add(lease.name)
        return True

"""The addresses that a NIC requests of its Subnet, required or preferred, and where it is refused. Pure."""

import contextlib
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from virtnet.addressing.mac import normalise
from virtnet.addressing.permissions import by_family, reservation_key
from virtnet.addressing.pool import Pool
from virtnet.addressing.pools import home
from virtnet.api import Holder, Owner, SubnetRef
from virtnet.api.addresses import family, is_mac
from virtnet.api.lease import lease_name
from virtnet.api.names import PINNED, port_name
from virtnet.api.records import PinnedNic, PinnedRecord


class Refused(ValueError):  # noqa: N818 - says what happened
    """A manifest that is not admitted; the text says what, where, and what to do."""

    def __init__(self, message: str, *, code: int = 422) -> None:
        super().__init__(message)
        self.code = code
        """The HTTP status to answer with: 422 for what is wrong in itself, 409 for what another holds, 403, 503."""


class Missing(Refused):
    """A manifest that refers to what does not exist, and may do so later."""


@dataclass(frozen=True)
class AddressRequest:
    """One address to get: the required one, else one of the preferred, else any."""

    required: str = ""
    preferred: tuple[str, ...] = ()
    of_guest: bool = False
    """Whether a guest that runs has it, and cannot take another."""


@dataclass(frozen=True)
class NicRequest:
    """What one NIC requests."""

    network: str
    nad: str
    subnet: SubnetRef
    holder: Holder
    addresses: tuple[AddressRequest, ...]
    """One of each family of the Subnet, in the order of its cidrs."""
    mac: AddressRequest
    settled: frozenset[str] = frozenset()
    """What the stored manifest says that this NIC holds: nobody is about to free it."""
    claim: str = ""
    """The last claim on what it held before, as the stored manifest has it."""

    @property
    def seed(self) -> str:
        """What automatic choice starts from: the same NIC tends to get the same address again."""
        return self.holder.key


@dataclass(frozen=True)
class RequestedNic:
    """What a manifest says of one NIC."""

    network: str
    nad: str
    mac: str = ""
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Past:
    """The pinned records that are to be taken into account, each of them possibly absent."""

    stored: PinnedRecord | None = None
    """What the stored manifest says of this very owner: on an update, the authority."""
    brought: PinnedRecord | None = None
    """What a manifest that is created says of its own VM: a request like any other."""
    foreign: PinnedRecord | None = None
    """What a manifest says of another VM (a clone, a restore under another name): no request."""

    @classmethod
    def of(cls, owner: str, new: PinnedRecord | None, old: PinnedRecord | None) -> "Past":
        """The past of the owner ``namespace/name``, from the records in the new and in the stored manifest."""
        stored = old if old is not None and old.vm == owner else None
        brought = new if new is not None and new.vm == owner and stored is None else None
        foreign = next((record for record in (new, old) if record is not None and record.vm != owner), None)
        return cls(stored, brought, foreign)

    def nic(self, network: str) -> PinnedNic | None:
        """What the owner's NIC held."""
        record = self.stored or self.brought
        return record.nics.get(network) if record else None

    def macs_of_others(self) -> frozenset[str]:
        return frozenset(nic.mac for nic in self.foreign.nics.values()) if self.foreign else frozenset()


def port_of(owner: Owner, network: str) -> str:
    """The name of the Port of an owner's NIC. A pod's differs from that of a VM of the same name."""
    return port_name(owner.name, network, pod=owner.kind == "Pod")


def nic_request(
    requested: RequestedNic,
    *,
    namespace: str,
    owner: Owner,
    subnet: SubnetRef,
    pools: Sequence[Pool],
    past: Past,
    held: Iterable[str],
    runs: bool = False,
) -> NicRequest:
    """What the NIC of an owner requests.

    For each family in this order: what it asks for, what was pinned, what its Port has a lease of in this Subnet
    (``held``), what is reserved for its VM, any. Where its VM ``runs``, its MAC is the guest's, in any Subnet: KubeVirt
    moves a guest to another network, and not to another MAC. Raises Refused.
    """
    key = reservation_key(namespace, owner.kind, owner.name)
    before = past.nic(requested.network)
    kept = before if before is not None and before.subnet == subnet else None
    if kept is not None and past.stored is None:
        kept = _admissible(kept, requested, pools, key)
    leased = tuple(held)
    stored = _stored(kept, pools, key, leased)
    has = frozenset(stored.values()) if past.stored else frozenset[str]()
    required = stored | _requested(requested, subnet, pools, key, has)
    mac = _mac(requested.mac, requested, subnet)
    if mac in past.macs_of_others():
        mac = ""
    carried = before.mac if before is not None and kept is None else ""  # from the NIC's earlier Subnet
    of_guest = runs and bool(carried) and mac in ("", carried)
    holder = Holder(namespace=namespace, port=port_of(owner, requested.network), owner=owner, network=requested.network)
    return NicRequest(
        network=requested.network,
        nad=requested.nad,
        subnet=subnet,
        holder=holder,
        addresses=tuple(
            AddressRequest(required.get(pool.family, ""), (*_again(leased, pool, key), *pool.reserved_for(key)))
            for pool in pools
        ),
        mac=AddressRequest(
            required=carried if of_guest else "" if carried and mac == carried else mac or (kept.mac if kept else ""),
            preferred=(*filter(None, [carried]), *filter(is_mac, leased)),
            of_guest=of_guest,
        ),
        settled=frozenset((kept.mac, *kept.addresses)) if kept and past.stored else frozenset(),
        claim=kept.claim if kept and past.stored else "",
    )


def _again(leased: Iterable[str], pool: Pool, vm: str) -> list[str]:
    """What the NIC has leases of in one family, as far as they would be granted today."""
    return [address for address in _of_family(leased, pool) if pool.refuse(address, vm) is None]


def _of_family(texts: Iterable[str], pool: Pool) -> Iterator[str]:
    """The addresses of a pool's family, in canonical form; what is no such address is left out."""
    for text in texts:
        with contextlib.suppress(ValueError):
            yield home(text, (pool,))[1]


def _admissible(kept: PinnedNic, requested: RequestedNic, pools: Sequence[Pool], vm: str) -> PinnedNic:
    """A pinned record that a manifest brings along, if it could have been pinned. Raises Refused."""
    source = f"annotation {PINNED}, NIC {requested.network}"
    try:
        addresses = by_family(kept.addresses, pools, vm)
    except ValueError as error:
        raise Refused(f"{kept.subnet}: {source}: {error}, or remove the annotation") from error
    return kept.model_copy(update={"addresses": tuple(addresses.values())})


def _stored(kept: PinnedNic | None, pools: Sequence[Pool], vm: str, leased: Sequence[str]) -> dict[str, str]:
    """Family -> pinned address. One of a family that the Subnet has no more is none.

    Nor is one that the NIC has no lease of and would not be granted today: what a manifest says proves nothing.
    """
    found = {}
    for pool in pools:
        for address in _of_family(kept.addresses if kept else (), pool):
            if address in leased or pool.refuse(address, vm) is None:
                found[pool.family] = address
    return found


def _requested(
    requested: RequestedNic, subnet: SubnetRef, pools: Sequence[Pool], vm: str, has: frozenset[str]
) -> dict[str, str]:
    """Family -> requested address. Raises Refused. What the NIC ``has`` it keeps, whatever the Subnet says by now."""
    try:
        return by_family(requested.addresses, pools, vm, has)
    except ValueError as error:
        raise Refused(f"{subnet}: NIC {requested.network}: {error}") from error


def _mac(text: str, requested: RequestedNic, subnet: SubnetRef) -> str:
    if not text:
        return ""
    try:
        return normalise(text)
    except ValueError as error:
        raise Refused(f"{subnet}: NIC {requested.network}: {error}") from error


def given_up(past: Past, requests: Iterable[NicRequest], left: Container[str]) -> frozenset[str]:
    """The names of the leases that a VM's NICs are stored with, and that they do not ask for any more.

    ``left``: the networks of those NICs that keep what they hold though nothing is requested for them.
    """
    now = {one.network: one for one in requests}
    found: set[str] = set()
    for network, nic in (past.stored.nics if past.stored else {}).items():
        request = now.get(network)
        if network in left or (request is not None and request.subnet != nic.subnet):
            continue
        required = {family(one.required): one.required for one in (*request.addresses, request.mac)} if request else {}
        found |= {
            lease_name(address, nic.subnet)
            for address in (nic.mac, *nic.addresses)
            if request is None or required.get(family(address), address) != address
        }
    return frozenset(found)


def without_duplicates(requests: Iterable[NicRequest]) -> tuple[NicRequest, ...]:
    """The requests, if no two of them require one address. Raises Refused."""
    requests = tuple(requests)
    seen: dict[tuple[SubnetRef, str], str] = {}
    for one in requests:
        for address in filter(None, (request.required for request in (*one.addresses, one.mac))):
            other = seen.setdefault((one.subnet, address), one.network)
            if other != one.network:
                raise Refused(
                    f"{one.subnet}: NICs {other} and {one.network} both ask for {address}; give them different ones"
                )
    return requests

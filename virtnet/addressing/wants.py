"""What a NIC wants of its Subnet: what it insists on, what it would rather have, and where it may be refused. Pure."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from virtnet.addressing.mac import normalise
from virtnet.addressing.pool import Pool
from virtnet.addressing.pools import home
from virtnet.api import Holder, Owner, SubnetRef
from virtnet.api.addresses import is_mac
from virtnet.api.names import PINNED, port_name
from virtnet.api.records import PinnedNic, PinnedRecord


class Refused(ValueError):  # noqa: N818 - says what happened
    """A manifest that is not admitted; the text says what, where, and what to do."""

    def __init__(self, message: str, *, code: int = 422) -> None:
        super().__init__(message)
        self.code = code
        """The HTTP status to answer with: 422 for what is wrong in itself, 409 for what another holds, 403, 503."""


@dataclass(frozen=True)
class Wish:
    """One address to get: exactly this, or rather one of these, or any."""

    exactly: str = ""
    rather: tuple[str, ...] = ()


@dataclass(frozen=True)
class Want:
    """What one NIC wants."""

    network: str
    nad: str
    subnet: SubnetRef
    holder: Holder
    addresses: tuple[Wish, ...]
    """One of each family of the Subnet, in the order of its cidrs."""
    mac: Wish
    settled: frozenset[str] = frozenset()
    """What the stored manifest says that this NIC holds: nobody is about to free it."""

    @property
    def seed(self) -> str:
        """What automatic choice starts from: the same NIC tends to get the same address again."""
        return self.holder.key


@dataclass(frozen=True)
class Asked:
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
    return port_name(owner.name, f"{network}@pod" if owner.kind == "Pod" else network)


def want(
    asked: Asked,
    *,
    namespace: str,
    owner: Owner,
    subnet: SubnetRef,
    pools: Sequence[Pool],
    past: Past,
    held: Iterable[str],
) -> Want:
    """What the NIC of an owner wants.

    For each family in this order: what it asks for, what was pinned, what its Port has a lease of in this Subnet
    (``held``), what is reserved for its VM, any. Raises Refused.
    """
    key = "" if owner.kind == "Pod" else f"{namespace}/{owner.name}"  # reservations are for VMs
    before = past.nic(asked.network)
    kept = before if before is not None and before.subnet == subnet else None
    if kept is not None and past.stored is None:
        kept = _admissible(kept, asked, pools, key)
    stored = _stored(kept, pools)
    has = frozenset(stored.values()) if past.stored else frozenset[str]()
    insisted = stored | _asked(asked, subnet, pools, key, has)
    leased = tuple(held)
    mac = _mac(asked.mac, asked, subnet)
    if mac in past.macs_of_others():
        mac = ""
    carried = before.mac if before is not None and kept is None else ""  # from the NIC's earlier Subnet
    holder = Holder(namespace=namespace, port=port_of(owner, asked.network), owner=owner, network=asked.network)
    return Want(
        network=asked.network,
        nad=asked.nad,
        subnet=subnet,
        holder=holder,
        addresses=tuple(
            Wish(insisted.get(pool.family, ""), (*_again(leased, pool, key), *pool.reserved_for(key))) for pool in pools
        ),
        mac=Wish(
            exactly="" if carried and mac == carried else mac or (kept.mac if kept else ""),
            rather=(*filter(None, [carried]), *filter(is_mac, leased)),
        ),
        settled=frozenset((kept.mac, *kept.addresses)) if kept and past.stored else frozenset(),
    )


def _again(leased: Iterable[str], pool: Pool, vm: str) -> list[str]:
    """What the NIC has leases of in one family, as far as they would be granted today."""
    return [address for address in _of_family(leased, pool) if pool.refuse(address, vm) is None]


def _of_family(texts: Iterable[str], pool: Pool) -> Iterator[str]:
    """The addresses of a pool's family, in canonical form; what is no such address is left out."""
    for text in texts:
        with contextlib.suppress(ValueError):
            yield home(text, (pool,))[1]


def _admissible(kept: PinnedNic, asked: Asked, pools: Sequence[Pool], vm: str) -> PinnedNic:
    """A pinned record that a manifest brings along, if it could have been pinned. Raises Refused."""
    source = f"annotation {PINNED}, NIC {asked.network}"
    if not kept.addresses:
        raise Refused(f"{source}: 0 addresses; remove the annotation")
    try:
        addresses = _by_family(kept.addresses, pools, vm)
    except ValueError as error:
        raise Refused(f"{kept.subnet}: {source}: {error}, or remove the annotation") from error
    mac = _mac(kept.mac, asked, kept.subnet)
    return kept.model_copy(update={"mac": mac, "addresses": tuple(addresses.values())})


def _stored(kept: PinnedNic | None, pools: Sequence[Pool]) -> dict[str, str]:
    """Family -> pinned address. One of a family that the Subnet has no more is none."""
    held = kept.addresses if kept else ()
    return {pool.family: address for pool in pools for address in _of_family(held, pool)}


def _asked(asked: Asked, subnet: SubnetRef, pools: Sequence[Pool], vm: str, has: frozenset[str]) -> dict[str, str]:
    """Family -> requested address. Raises Refused. What the NIC ``has`` it keeps, whatever the Subnet says by now."""
    try:
        return _by_family(asked.addresses, pools, vm, has)
    except ValueError as error:
        raise Refused(f"{subnet}: NIC {asked.network}: {error}") from error


def _by_family(
    addresses: Iterable[str], pools: Sequence[Pool], vm: str, has: frozenset[str] = frozenset()
) -> dict[str, str]:
    """Family -> address in canonical form. Raises ValueError for what the VM may not have."""
    found: dict[str, str] = {}
    for text in addresses:
        pool, address = home(text, pools)
        other = found.setdefault(pool.family, address)
        if other != address:
            raise ValueError(f"{other} and {address} are both {pool.family}; a NIC has one address of each family")
        refusal = None if address in has else pool.refuse(address, vm)
        if refusal is not None:
            raise ValueError(refusal)
    return found


def _mac(text: str, asked: Asked, subnet: SubnetRef) -> str:
    if not text:
        return ""
    try:
        return normalise(text)
    except ValueError as error:
        raise Refused(f"{subnet}: NIC {asked.network}: {error}") from error


def without_twins(wants: Iterable[Want]) -> tuple[Want, ...]:
    """The wants, if no two of them insist on one address. Raises Refused."""
    wants = tuple(wants)
    seen: dict[tuple[SubnetRef, str], str] = {}
    for one in wants:
        for address in filter(None, (wish.exactly for wish in (*one.addresses, one.mac))):
            other = seen.setdefault((one.subnet, address), one.network)
            if other != one.network:
                raise Refused(
                    f"{one.subnet}: NICs {other} and {one.network} both ask for {address}; give them different ones"
                )
    return wants

"""What a NIC wants of its Subnet: what it insists on, what it would rather have, and where it may be refused."""

from collections.abc import Iterable
from dataclasses import dataclass

from virtnet.addressing.mac import normalise
from virtnet.addressing.pool import Pool
from virtnet.api import AddressLease, Holder, Owner, SubnetRef
from virtnet.api.names import port_name
from virtnet.api.records import PinnedRecord


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
    address: Wish
    mac: Wish

    @property
    def seed(self) -> str:
        """What automatic choice starts from: the same NIC tends to get the same address again."""
        return self.holder.key


@dataclass(frozen=True)
class Asked:
    """What a manifest says of one NIC."""

    network: str
    nad: str
    mac: str
    addresses: tuple[str, ...]


def want(
    asked: Asked,
    *,
    namespace: str,
    owner: Owner,
    subnet: SubnetRef,
    pool: Pool,
    record: PinnedRecord | None,
    held: Iterable[AddressLease],
) -> Want:
    """What the NIC of an owner wants.

    ``record`` is what was pinned before: of this very owner it is kept, of another (a clone, a restore under another
    name) it is no request, and neither is the MAC that came along with it. ``held``: leases of the NIC's Port.
    Raises Refused.
    """
    key = f"{namespace}/{owner.name}"
    port = port_name(owner.name, asked.network)
    pinned = record.nics.get(asked.network) if record else None
    mine = record is not None and record.vm == key
    kept = pinned if mine and pinned and pinned.subnet == subnet else None
    asked_mac = _mac(asked, subnet)
    if pinned is not None and not mine and asked_mac == pinned.mac:
        asked_mac = ""
    addresses = [lease.spec.address for lease in held if lease.spec.subnet == subnet]
    return Want(
        network=asked.network,
        nad=asked.nad,
        subnet=subnet,
        holder=Holder(namespace=namespace, port=port, owner=owner, network=asked.network),
        address=Wish(
            exactly=_address(asked, subnet, pool, key) or (kept.addresses[0] if kept else ""),
            rather=(
                *((reserved,) if (reserved := pool.reserved_for(key)) else ()),
                *(address for address in addresses if ":" not in address and pool.refuse(address, key) is None),
            ),
        ),
        mac=Wish(
            exactly=asked_mac or (kept.mac if kept else ""),
            rather=tuple(address for address in addresses if ":" in address),
        ),
    )


def _address(asked: Asked, subnet: SubnetRef, pool: Pool, vm: str) -> str:
    if not asked.addresses:
        return ""
    if len(asked.addresses) > 1:
        raise Refused(
            f"{subnet}: NIC {asked.network} asks for {len(asked.addresses)} addresses ({', '.join(asked.addresses)}), "
            "but the Subnet has one family; ask for one"
        )
    refusal = pool.refuse(asked.addresses[0], vm)
    if refusal is not None:
        raise Refused(f"{subnet}: NIC {asked.network}: {refusal}")
    return asked.addresses[0]


def _mac(asked: Asked, subnet: SubnetRef) -> str:
    if not asked.mac:
        return ""
    try:
        return normalise(asked.mac)
    except ValueError as error:
        raise Refused(f"{subnet}: NIC {asked.network}: {error}") from error


def without_twins(wants: Iterable[Want]) -> tuple[Want, ...]:
    """The wants, if no two of them insist on one address. Raises Refused."""
    wants = tuple(wants)
    seen: dict[tuple[SubnetRef, str], str] = {}
    for one in wants:
        for address in filter(None, (one.address.exactly, one.mac.exactly)):
            other = seen.setdefault((one.subnet, address), one.network)
            if other != one.network:
                raise Refused(
                    f"{one.subnet}: NICs {other} and {one.network} both ask for {address}; give them different ones"
                )
    return wants

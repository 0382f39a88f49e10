"""Which leases prove what a Port says it holds. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from virtnet.addressing.held import HeldAddress
from virtnet.api import PortSpec
from virtnet.api.lease import lease_name


@dataclass(frozen=True)
class Holding:
    """The leases of all addresses of a Port, MAC included."""

    held: frozenset[str] = frozenset()
    """Addresses whose lease is this Port's."""
    missing: tuple[str, ...] = ()
    """Addresses that nobody has a lease of."""
    others: tuple[HeldAddress, ...] = ()
    """Leases of its addresses that others hold."""

    @property
    def complete(self) -> bool:
        """Whether every address is proven to be this Port's."""
        return not self.missing and not self.others


def holding(port: str, spec: PortSpec, leases: Mapping[str, HeldAddress]) -> Holding:
    """What of a Port (``namespace/name``) is proven by the leases, which are given by name."""
    held, missing, others = set(), [], []
    for address in (spec.mac_address, *spec.addresses):
        lease = leases.get(lease_name(address, spec.subnet))
        if lease is None:
            missing.append(address)
        elif not lease.is_of(port, spec.owner):
            others.append(lease)
        else:
            held.add(address)
    return Holding(frozenset(held), tuple(missing), tuple(others))

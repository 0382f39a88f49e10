"""The leases that a Port must hold, and whose they are."""

from virtnet.addressing.held import HeldAddress
from virtnet.addressing.holding import Holding, holding
from virtnet.addressing.permissions import foreign
from virtnet.api import AddressLease, AddressLeaseSpec, ClusterSubnet, Holder, Port, PortSpec, Subnet
from virtnet.api.lease import lease_name
from virtnet.api.meta import Metadata
from virtnet.api.strings import invalid
from virtnet.engine.graph import Reader
from virtnet.features.macs import first_on_segment
from virtnet.features.sources import LEASES


def lease_names(spec: PortSpec) -> dict[str, str]:
    """The addresses that a Port must hold leases of, by the lease's name."""
    return {lease_name(address, spec.subnet): address for address in (spec.mac_address, *spec.addresses)}


def lease_of(port: str, spec: PortSpec, address: str) -> AddressLease:
    """The lease of an address that a Port ``namespace/name`` must hold."""
    namespace, name = port.split("/")
    holder = Holder(namespace=namespace, port=name, owner=spec.owner, network=spec.network)
    return AddressLease(
        metadata=Metadata(name=lease_name(address, spec.subnet)),
        spec=AddressLeaseSpec(address=address, subnet=spec.subnet, holder=holder),
    )


def leases_of(port: str, spec: PortSpec) -> dict[str, AddressLease]:
    """The leases that a Port ``namespace/name`` must hold, by name."""
    return {name: lease_of(port, spec, address) for name, address in lease_names(spec).items()}


def holding_of(port: str, spec: PortSpec, reader: Reader) -> Holding:
    """What of a Port ``namespace/name`` is proven by leases."""
    own = {lease.name: lease for lease in reader.by(LEASES, "port", port)}
    found = {
        name: own.get(name) or reader.get(LEASES, LEASES.key(name)) for name in lease_names(spec)
    }  # what is its own is no other's
    return holding(port, spec, {name: lease for name, lease in found.items() if lease is not None})


def unusable(port: Port, subnet: Subnet | ClusterSubnet | None) -> str:
    """Why OVN may not have what a Port says, whoever wrote it; empty where it may."""
    return invalid(port.spec) or (subnet.spec.lacking(port.spec.addresses) if subnet is not None else "")


def conflict_of(port: Port, held: Holding, reader: Reader) -> str:
    """Why a Port may not be in OVN: it, or an address that it should hold, is another's. Empty when none is."""
    if problem := foreign(port.namespace, port.spec.subnet):
        return problem
    for lease in held.others:
        holder = lease.holder_for(port.namespace)
        return f"{port.spec.subnet}: {lease.address} is held by {holder}; request another address"
    if (other := first_on_segment(port, reader)) is not None:
        holder = holder_for(port.namespace, other.key, other.spec)
        where = f"in {other.spec.subnet} on the same VLAN"
        return f"{port.spec.subnet}: {port.spec.mac_address} is held by {holder} {where}; request another MAC"
    return ""


def holder_for(namespace: str, port: str, spec: PortSpec) -> str:
    """Whose a Port ``namespace/name`` is, for people of a namespace."""
    return HeldAddress.of_lease(lease_of(port, spec, spec.mac_address)).holder_for(namespace)

"""What a NIC may hold, by its namespace and its Subnet: one rule for admission, controller and node. Pure."""

from collections.abc import Container, Iterable, Sequence
from ipaddress import ip_interface

from virtnet.addressing.pool import Pool
from virtnet.addressing.pools import InvalidSubnet, home, pools_of
from virtnet.api import ClusterSubnet, PortSpec, Subnet, SubnetRef
from virtnet.api.records import Attachment


def foreign(namespace: str, ref: SubnetRef) -> str:
    """Why NICs of a namespace cannot be in a Subnet, by its reference alone; empty where they can."""
    if ref.namespace == (namespace if ref.kind == "Subnet" else ""):
        return ""
    return f"{ref} serves namespace {ref.namespace} only; use a Subnet of {namespace}, or a ClusterSubnet"


def forbidden(namespace: str, subnet: Subnet | ClusterSubnet) -> str:
    """Why a namespace may not use a Subnet; empty where it may."""
    if problem := foreign(namespace, subnet.ref):
        return problem
    allowed = subnet.spec.allowed_namespaces
    if allowed and namespace not in allowed:
        return f"{subnet.ref} may not be used from namespace {namespace}; ask its owner to allow it"
    return ""


def by_family(
    addresses: Iterable[str], pools: Sequence[Pool], vm: str, has: Container[str] = frozenset()
) -> dict[str, str]:
    """Family -> address in canonical form. Raises ValueError for what the VM (``namespace/name``) may not have.

    What the NIC ``has`` it keeps, whatever the Subnet says by now.
    """
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


def reservation_key(namespace: str, kind: str, name: str) -> str:
    """What an owner's reservations are made for; of a pod its namespace alone, because reservations are for VMs."""
    return f"{namespace}/{'' if kind == 'Pod' else name}"


def refusal(port: str, spec: PortSpec, subnet: Subnet | ClusterSubnet | None, leased: Container[str]) -> str:
    """Why a Port (``namespace/name``) may not be as somebody else's object says; empty where it may.

    ``leased``: the addresses that it has leases of, which were granted to it. All others it must be able to claim now.
    """
    namespace = port.partition("/")[0]
    if problem := foreign(namespace, spec.subnet):
        return problem
    if subnet is not None and (problem := subnet.spec.lacking(spec.addresses)):
        return f"{subnet.ref}: {problem}"
    if all(address in leased for address in (spec.mac_address, *spec.addresses)):
        return ""
    if subnet is None:
        return f"{spec.subnet} does not exist; create it"
    if problem := forbidden(namespace, subnet):
        return problem
    try:
        by_family(
            spec.addresses, pools_of(subnet), reservation_key(namespace, spec.owner.kind, spec.owner.name), leased
        )
    except InvalidSubnet as error:
        return f"{subnet.ref} cannot be used: {error}"
    except ValueError as error:
        return f"{subnet.ref}: {error}"
    return ""


def unattachable(namespace: str, attachment: Attachment) -> str:
    """Why no pod of a namespace can have been marked with an attachment; empty where one can.

    By the attachment alone: nodes know no Subnets and no leases.
    """
    if attachment.port.partition("/")[0] != namespace:
        return f"Port {attachment.port} is of another namespace"
    if problem := foreign(namespace, attachment.subnet):
        return problem
    if not attachment.addresses and attachment.underlay is None:
        return "it has no address, as only a NIC of a physical network may"
    families = set()
    for address in map(ip_interface, attachment.addresses):
        ends = (
            address.network.network_address,
            *((address.network.broadcast_address,) if address.version == 4 else ()),
        )
        if address.ip in ends or str(address.ip) in attachment.gateways:
            return f"{address.ip} is the gateway, or no host address of {address.network}"
        if address.version in families:
            return f"{address.ip} is the second IPv{address.version} address"
        families.add(address.version)
    return ""

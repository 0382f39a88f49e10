"""Whether a Subnet can be put into OVN, and why not. Decided once, for its rows, its condition and admission alike."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from virtnet.addressing.pool import Pool
from virtnet.addressing.pools import InvalidSubnet, pools_of
from virtnet.api import SubnetRef
from virtnet.api.addresses import within
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.features.layout import overlapped, overlapped_on_segment
from virtnet.features.sources import PROVIDER_NETWORKS, AnySubnet, AnyVpc, segment, subnets_of, vpc_key, vpcs_of

DEFAULT_VPC = "default"

PENDING = "VpcPending"
"""Reason of an obstacle that goes by itself."""


@dataclass(frozen=True)
class Obstacle:
    """What keeps an object out of OVN: a reason for programs, and a sentence for people."""

    reason: str
    message: str
    code: int = 0
    """The HTTP status with which admission refuses the object; 0: it only warns, for what is missing may come later."""


def subnet_of(key: ObjectKey, reader: Reader) -> AnySubnet | None:
    return reader.get(subnets_of(key.kind), key)


def vpc_of(key: ObjectKey, reader: Reader) -> AnyVpc | None:
    return reader.get(vpcs_of(key.kind), key)


def pools_or_why(key: ObjectKey, reader: Reader) -> tuple[Pool, ...] | InvalidSubnet:
    """The pools of a Subnet, or why it has none; none where it is missing. To be derived."""
    subnet = subnet_of(key, reader)
    try:
        return pools_of(subnet) if subnet is not None else ()
    except InvalidSubnet as error:
        return error


def pools(key: ObjectKey, reader: Reader) -> tuple[Pool, ...]:
    """The pools of a Subnet; none where it is missing or invalid. To be derived."""
    found = reader.derive(pools_or_why, key)
    return () if isinstance(found, InvalidSubnet) else found


def obstacle(key: ObjectKey, reader: Reader) -> Obstacle | None:
    """What keeps a Subnet out of OVN; None where nothing does. To be derived.

    It keeps out what is not there yet. What guests already use stays, whatever becomes of the objects.
    """
    return next(obstacles(key, reader), None)


def obstacles(key: ObjectKey, reader: Reader) -> Iterator[Obstacle]:
    """All that keeps a Subnet out of OVN. Nothing more is known of one that is missing or invalid in itself."""
    subnet = subnet_of(key, reader)
    if subnet is None:
        yield Obstacle("Missing", "it does not exist; create it")
        return
    problem = reader.derive(pools_or_why, key)
    if isinstance(problem, InvalidSubnet):
        yield Obstacle("Invalid", str(problem), code=422)
        return
    for found in (_vpc(subnet, reader), *_physical(key, subnet, reader), _overlap(key, subnet, reader)):
        if found is not None:
            yield found


def served(key: ObjectKey, reader: Reader) -> str:
    """What keeps a NIC's Subnet out of OVN, for people; empty where nothing does."""
    found = reader.derive(obstacle, key)
    ref = SubnetRef.model_validate({"kind": key.kind, "namespace": key.namespace, "name": key.name})
    if found is None:
        return ""
    return f"{ref} does not exist; create it" if found.reason == "Missing" else f"{ref}: {found.message}"


def _vpc(subnet: AnySubnet, reader: Reader) -> Obstacle | None:
    reference, vpc = subnet.spec.vpc, vpc_of(vpc_key(subnet), reader)
    if vpc is None and is_own_default(subnet):
        return Obstacle(PENDING, "its namespace's Vpc default is just being made")
    if vpc is None:
        name = reference.key(subnet.namespace)
        return Obstacle(
            "VpcMissing",
            f"{reference.kind} {name} does not exist; create it, or make the Subnet anew in another Vpc",
        )
    allowed = vpc.spec.allowed_namespaces
    if subnet.namespace and allowed and subnet.namespace not in allowed:
        return Obstacle(
            "VpcNotAllowed",
            f"{reference.kind} {vpc.key} does not allow namespace {subnet.namespace}; ask its owner, or make the "
            "Subnet anew in another Vpc",
            code=403,
        )
    return _not_allowed(subnet, vpc)


def is_own_default(subnet: AnySubnet) -> bool:
    """Whether it lies in its namespace's Vpc ``default``, which is made where it is missing."""
    return subnet.spec.vpc.kind == "Vpc" and subnet.spec.vpc.name == DEFAULT_VPC


def _not_allowed(subnet: AnySubnet, vpc: AnyVpc) -> Obstacle | None:
    """Which of a tenant's networks its ClusterVpc does not allow it."""
    allowed = vpc.spec.allowed_cidrs
    if not subnet.namespace or not allowed:
        return None
    own = [one for one in allowed if not one.namespaces or subnet.namespace in one.namespaces]
    networks = [ip_network(cidr) for one in own for cidr in one.cidrs]
    for network in subnet.spec.networks:
        if not any(within(network, one) for one in networks):
            granted = " and ".join(map(str, networks)) or "no network"
            return Obstacle(
                "CidrNotAllowed",
                f"{type(vpc).__name__} {vpc.key} allows namespace {subnet.namespace} {granted}, and {network} is "
                "outside; choose a network of those, or another Vpc",
                code=403,
            )
    return None


def _physical(key: ObjectKey, subnet: AnySubnet, reader: Reader) -> Iterator[Obstacle]:
    place = segment(subnet)
    if place is None:
        return
    name, vlan = place
    other = reader.derive(overlapped_on_segment, place).get(key)
    if other is not None:
        where = f"{f'VLAN {vlan}' if vlan else 'the untagged part'} of ProviderNetwork {name}"
        yield Obstacle("Overlaps", f"{_both(subnet, other, reader)} on {where}; use another VLAN", code=409)
    if reader.get(PROVIDER_NETWORKS, PROVIDER_NETWORKS.key(name)) is None:
        yield Obstacle("ProviderNetworkMissing", f"ProviderNetwork {name} does not exist; create it, or name another")


def _overlap(key: ObjectKey, subnet: AnySubnet, reader: Reader) -> Obstacle | None:
    other = reader.derive(overlapped, key)
    if other is None:
        return None
    both = _both(subnet, other, reader)
    return Obstacle("Overlaps", f"{both} in the same Vpc; choose another network or another Vpc", code=409)


def _both(subnet: AnySubnet, other: ObjectKey, reader: Reader) -> str:
    """Of another tenant's Subnet a tenant is told nothing but that it is there."""
    theirs = subnet_of(other, reader)
    if subnet.namespace and other.namespace not in ("", subnet.namespace):
        return f"{', '.join(subnet.spec.cidrs)} overlaps a network of another namespace"
    common = subnet.spec.overlaps(theirs.spec) if theirs is not None else None
    if theirs is None or common is None:
        return f"{', '.join(subnet.spec.cidrs)} overlaps {other}"
    return f"{common[0]} overlaps {common[1]} of {theirs.ref}"

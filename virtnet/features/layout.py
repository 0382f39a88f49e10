"""How Subnets lie beside each other: in one Vpc, and on one piece of a physical network.

Computed once for all Subnets of a Vpc: networks are prefixes, so of two that overlap one holds the other, and who holds
a network is found by looking up its prefixes, of which there are few.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from virtnet.api.addresses import Network
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.features.places import PLACES, Place
from virtnet.features.sources import CLUSTER_SUBNETS, is_ready, subnets_of, vpc_key
from virtnet.topology.switch import VpcNeighbours


@dataclass(frozen=True)
class Layout:
    """The Subnets of a Vpc."""

    subnets: tuple[ObjectKey, ...]
    routed: Mapping[ObjectKey, tuple[str, ...]]
    """The networks of those that the Vpc's router reaches."""
    overlapped: Mapping[ObjectKey, ObjectKey]
    """Subnet -> an elder one that it overlaps."""
    mtu: int
    """The largest MTU of guests of those."""


def layout(vpc: ObjectKey, reader: Reader) -> Layout:
    """The layout of a Vpc; to be derived."""
    places = reader.by(PLACES, "vpc", vpc)
    routed = {one.subnet: one.cidrs for one in places if one.routed}
    largest = max((one.guest_mtu for one in places if one.routed), default=0)
    return Layout(tuple(one.subnet for one in places), routed, overlaps(places, reader), largest)


def neighbours(subnet: ObjectKey, reader: Reader) -> VpcNeighbours:
    """What a Subnet has to know of the others in its Vpc; to be derived."""
    found = reader.get(subnets_of(subnet.kind), subnet)
    if found is None:
        return VpcNeighbours()
    plan = reader.derive(layout, vpc_key(found))
    networks: tuple[str, ...] = ()
    if found.spec.router_addresses:  # of the others, no other Subnet's guests are told
        others = sorted((key for key in plan.routed if key != subnet), key=lambda key: key.kind != CLUSTER_SUBNETS.kind)
        networks = tuple(cidr for key in others for cidr in plan.routed[key])  # the administrators' first
    return VpcNeighbours(networks, plan.mtu)


def overlapped(subnet: ObjectKey, reader: Reader) -> ObjectKey | None:
    """An elder Subnet of the same Vpc that this one overlaps; to be derived. Two may be admitted at once."""
    found = reader.get(subnets_of(subnet.kind), subnet)
    return reader.derive(layout, vpc_key(found)).overlapped.get(subnet) if found is not None else None


def overlapped_on_segment(place: tuple[str, int], reader: Reader) -> Mapping[ObjectKey, ObjectKey]:
    """Underlay -> an elder one on the very same piece of a physical network that it overlaps, in whichever Vpc.

    Several ranges on one piece are fine: what their switches do not know they send out, where the others hear it. To be
    derived.
    """
    return overlaps(reader.by(PLACES, "segment", place), reader)


def overlaps(places: Iterable[Place], reader: Reader) -> dict[ObjectKey, ObjectKey]:
    """Subnet -> an elder one that it overlaps.

    Which is the elder depends on which is served already, and so only those that overlap are asked for that: at a start
    a thousand Subnets become ready one by one.
    """
    found: dict[ObjectKey, ObjectKey] = {}
    ordered = sorted(_overlapping(places), key=lambda place: _age(place, reader))
    rank = {one.subnet: number for number, one in enumerate(ordered)}
    eldest: dict[tuple[int, int, int], ObjectKey] = {}
    networks = [(one.subnet, network) for one in ordered for network in one.networks]
    for key, network in networks:
        eldest.setdefault(_prefix(network, network.prefixlen), key)
    for key, network in networks:
        for other in map(eldest.__getitem__, _wider(network, eldest)):
            elder, younger = sorted((key, other), key=rank.__getitem__)
            if elder != younger and (younger not in found or rank[elder] < rank[found[younger]]):
                found[younger] = elder
    return found


def _overlapping(places: Iterable[Place]) -> list[Place]:
    """Those of which another has addresses."""
    networks = [(number, one, network) for number, one in enumerate(places) for network in one.networks]
    holders: dict[tuple[int, int, int], dict[int, Place]] = {}
    for number, one, network in networks:
        holders.setdefault(_prefix(network, network.prefixlen), {})[number] = one
    found: dict[int, Place] = {}
    shared: set[tuple[int, int, int]] = set()
    for number, one, network in networks:
        for prefix in _wider(network, holders):
            if len(holders[prefix]) > (number in holders[prefix]):
                found[number] = one
                shared.add(prefix)
    for prefix in shared:
        found |= holders[prefix]
    return [found[number] for number in sorted(found)]


def _wider(network: Network, known: Container[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """The network, and all that hold it, as far as they are known."""
    prefixes = (_prefix(network, length) for length in range(network.prefixlen + 1))
    return filter(known.__contains__, prefixes)


def _prefix(network: Network, length: int) -> tuple[int, int, int]:
    bits = network.max_prefixlen - length
    return network.version, length, int(network.network_address) >> bits << bits


def _age(place: Place, reader: Reader) -> tuple[bool, object, str]:
    """Orders Subnets: those that are served already, then by when they were made; the uid decides within a second."""
    subnet = reader.whole(subnets_of(place.subnet.kind), place.subnet)
    ready = subnet is not None and is_ready(subnet)
    return (not ready, place.created or datetime.max.replace(tzinfo=UTC), place.uid)

"""A Subnet's addresses: which may be handed out, and in which order."""

import bisect
import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from itertools import accumulate, chain
from typing import Self

from virtnet.api import ClusterSubnet, Subnet

Interval = tuple[int, int]
"""First and last address, as numbers."""


class InvalidSubnet(ValueError):  # noqa: N818 - says what the Subnet is
    """A Subnet that cannot be served; the text says which field, its value and what to do."""


@dataclass(frozen=True)
class Pool:
    """The addresses of one Subnet. All arithmetic is on numbers and intervals, so a /8 costs what a /24 does."""

    network: IPv4Network
    gateway: IPv4Address
    ranges: tuple[Interval, ...]
    """What is handed out automatically, before anything is taken out of it."""
    excludes: tuple[Interval, ...]
    own: frozenset[IPv4Address]
    """What the Vpc's router and the multicast querier have beside the gateway."""
    reservations: Mapping[str, str]
    """Address -> ``namespace/name`` of the VM that it is kept for."""
    free: tuple[Interval, ...]
    """What is handed out automatically: ranges without excludes, reservations, gateway, network and broadcast."""

    @classmethod
    def of(cls, subnet: Subnet | ClusterSubnet) -> Self:
        """The pool of a Subnet. Raises InvalidSubnet."""
        spec = subnet.spec
        try:
            network = IPv4Network(spec.cidr)
        except ValueError as error:
            raise InvalidSubnet(f"cidr {spec.cidr}: {error}; write a network such as 10.10.0.0/24") from error
        gateway = _within("gateway", spec.gateway, network) if spec.gateway else network[1]
        ranges = [_interval("ranges", text, network) for text in spec.ranges] or [
            (int(network.network_address), int(network.broadcast_address))
        ]
        excludes = [_interval("excludes", text, network) for text in spec.excludes]
        reservations = _reservations(subnet, network)
        if str(gateway) in reservations:
            raise InvalidSubnet(f"reservations: {gateway} is the gateway; reserve another address")
        own = _own(subnet, network, gateway)
        if taken_twice := next((a for a in own if str(a) in reservations), None):
            raise InvalidSubnet(
                f"reservations: {taken_twice} is the router's or the querier's; reserve another address"
            )
        ends = (int(network.network_address), int(network.broadcast_address), int(gateway), *map(int, own))
        taken = [*excludes, *((n, n) for n in (*ends, *(int(IPv4Address(a)) for a in reservations)))]
        merged = _merge(ranges)
        return cls(network, gateway, merged, _merge(excludes), own, reservations, _subtract(merged, _merge(taken)))

    @property
    def capacity(self) -> int:
        """How many addresses can be handed out, reservations included."""
        return sum(last - first + 1 for first, last in self.free) + len(self.reservations)

    def reserved_for(self, vm: str) -> tuple[str, ...]:
        """The addresses kept for a VM (``namespace/name``), in the manifest's order."""
        return tuple(address for address, holder in self.reservations.items() if holder == vm)

    def refuse(self, address: str, vm: str) -> str | None:
        """Why this VM (``namespace/name``) may not ask for this address; None where it may.

        An address outside ``ranges`` may be asked for: ranges bound what is chosen automatically. A reservation
        within ``excludes`` holds for its VM.
        """
        try:
            asked = IPv4Address(address)
        except AddressValueError:
            return f"{address} is not an IPv4 address; write it like {self.network[10 % self.network.num_addresses]}"
        if asked not in self.network:
            return f"{asked} is outside {self.network}; choose an address of that network"
        if asked == self.network.network_address:
            return f"{asked} is the network address; choose another"
        if asked == self.network.broadcast_address:
            return f"{asked} is the broadcast address; choose another"
        if asked == self.gateway:
            return f"{asked} is the gateway; choose another"
        if asked in self.own:
            return f"{asked} is an address of the Vpc's router or of the multicast querier; choose another"
        holder = self.reservations.get(str(asked))
        if holder is not None:
            return None if holder == vm else f"{asked} is reserved for VM {holder}; choose another"
        if any(first <= int(asked) <= last for first, last in self.excludes):
            return f"{asked} is excluded; choose another"
        return None

    def candidates(
        self, seed: str, taken: Container[str], cooling: Mapping[str, datetime], now: datetime
    ) -> Iterator[str]:
        """Addresses to try, every free one once: from a place that the seed decides on, around the pool.

        So the same NIC tends to get the same address again, and replicas that choose at once rarely collide. Addresses
        freed lately come last, the one that has cooled longest first.
        """
        cooled = []
        for number in self._around(seed):
            address = str(IPv4Address(number))
            if address in taken:
                continue
            until = cooling.get(address)
            if until is not None and until > now:
                cooled.append((until, number, address))
            else:
                yield address
        for _, _, address in sorted(cooled):
            yield address

    def _around(self, seed: str) -> Iterator[int]:
        sizes = [last - first + 1 for first, last in self.free]
        ends = list(accumulate(sizes))
        if not ends:
            return
        start = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) % ends[-1]
        for index in chain(range(start, ends[-1]), range(start)):
            place = bisect.bisect_right(ends, index)
            yield self.free[place][0] + index - (ends[place] - sizes[place])


def _own(subnet: Subnet | ClusterSubnet, network: IPv4Network, gateway: IPv4Address) -> frozenset[IPv4Address]:
    spec = subnet.spec
    found: set[IPv4Address] = set()
    for text in spec.router_addresses:
        address = _within("routerAddresses", text, network)
        if address == gateway:
            raise InvalidSubnet(
                f"routerAddresses: {address} is the gateway's, a machine outside; give the router another"
            )
        if found:
            raise InvalidSubnet(f"routerAddresses: {address} is the second of its family; keep one")
        found.add(address)
    if spec.multicast.querier_address:
        found.add(_within("multicast.querierAddress", spec.multicast.querier_address, network))
    elif spec.multicast.querier and spec.physical_gateway and not found:
        raise InvalidSubnet(
            "multicast.querier: no address to ask from, because the gateway is outside; set multicast.querierAddress"
        )
    return frozenset(found)


def _reservations(subnet: Subnet | ClusterSubnet, network: IPv4Network) -> dict[str, str]:
    kept: dict[str, str] = {}
    for one in subnet.spec.reservations:
        address, vm = str(_within("reservations", one.address, network)), _vm(one.vm, subnet.namespace)
        if kept.setdefault(address, vm) != vm:
            raise InvalidSubnet(f"reservations: {address} is kept for {kept[address]} and for {vm}; remove one of them")
    return kept


def _vm(text: str, namespace: str) -> str:
    if "/" in text:
        if namespace and not text.startswith(f"{namespace}/"):
            raise InvalidSubnet(f"reservations: VM {text} is in another namespace; a Subnet serves {namespace} only")
        return text
    if not namespace:
        raise InvalidSubnet(f"reservations: VM {text} needs its namespace in a ClusterSubnet; write namespace/{text}")
    return f"{namespace}/{text}"


def _within(field: str, text: str, network: IPv4Network) -> IPv4Address:
    try:
        address = IPv4Address(text)
    except AddressValueError as error:
        raise InvalidSubnet(f"{field}: {text} is not an IPv4 address") from error
    if address not in network or address in (network.network_address, network.broadcast_address):
        raise InvalidSubnet(f"{field}: {text} is no host address of {network}")
    return address


def _interval(field: str, text: str, network: IPv4Network) -> Interval:
    first, _, last = text.partition("-")
    try:
        low, high = IPv4Address(first), IPv4Address(last or first)
    except AddressValueError as error:
        raise InvalidSubnet(f"{field}: {text} is neither an address nor a range like 10.10.0.10-10.10.0.99") from error
    if low > high:
        raise InvalidSubnet(f"{field}: {text} ends before it begins; write {last}-{first}")
    if low not in network or high not in network:
        raise InvalidSubnet(f"{field}: {text} is not inside {network}")
    return int(low), int(high)


def _merge(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Sorted, without overlaps."""
    merged: list[Interval] = []
    for first, last in sorted(intervals):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def _subtract(intervals: Iterable[Interval], holes: Iterable[Interval]) -> tuple[Interval, ...]:
    """What is left of sorted intervals without sorted holes."""
    left: list[Interval] = []
    holes = tuple(holes)
    for first, last in intervals:
        start = first
        for low, high in holes:
            if high < start or low > last:
                continue
            if low > start:
                left.append((start, low - 1))
            start = high + 1
        if start <= last:
            left.append((start, last))
    return tuple(left)

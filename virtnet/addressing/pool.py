"""A Subnet's addresses of one family: which may be handed out, and in which order."""

import bisect
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import accumulate
from typing import Self

from virtnet.addressing.occupied import Occupied
from virtnet.api.addresses import Address, Network

Interval = tuple[int, int]
"""First and last address, as numbers."""


@dataclass(frozen=True)
class Pool:
    """The addresses of one family. All arithmetic is on numbers and intervals, so a /64 costs what a /24 does."""

    network: Network
    gateway: Address
    excludes: tuple[Interval, ...]
    own: frozenset[Address]
    """What the Vpc's router and the multicast querier have beside the gateway."""
    former: frozenset[Address]
    """What the router had until lately, and still answers for."""
    reservations: Mapping[str, str]
    """Address in canonical form -> ``namespace/name`` of the VM that it is kept for."""
    free: tuple[Interval, ...]
    """What is handed out automatically: ranges without excludes, reservations, next hops, gateway, network and
    broadcast."""

    @classmethod
    def of(
        cls,
        network: Network,
        gateway: Address,
        *,
        ranges: Iterable[Interval],
        excludes: Iterable[Interval],
        own: Iterable[Address],
        former: Iterable[Address] = (),
        reservations: Mapping[Address, str],
        hops: Iterable[Address] = (),
    ) -> Self:
        """The pool of a network, whose parts all lie in it. No ``ranges``: all of it.

        ``hops``: machines that guests are told to route by. They may ask for their addresses, others get them not.
        """
        whole = (int(network.network_address), int(network.broadcast_address))
        excludes, own = tuple(excludes), frozenset(own)
        former = frozenset(former) - own - {gateway}
        single = (network.network_address, gateway, *_broadcast(network), *own, *former, *reservations, *hops)
        taken = _merge((*excludes, *((int(address), int(address)) for address in single)))
        return cls(
            network,
            gateway,
            _merge(excludes),
            own,
            former,
            {str(address): vm for address, vm in reservations.items()},
            _subtract(_merge(tuple(ranges) or (whole,)), taken),
        )

    @property
    def family(self) -> str:
        """IPv4 or IPv6."""
        return f"IPv{self.network.version}"

    @property
    def example(self) -> Address:
        """An address of it, for messages."""
        return self.network[(10 if self.network.version == 4 else 16) % self.network.num_addresses]

    @property
    def capacity(self) -> int:
        """How many addresses can be handed out, reservations included."""
        return self.size + len(self.reservations)

    @property
    def size(self) -> int:
        """How many addresses are handed out automatically."""
        return sum(last - first + 1 for first, last in self.free)

    def offers(self, address: str) -> bool:
        """Whether an address is one of those that are handed out automatically."""
        return _within(int(ip_address(address)), self.free)

    def reserved_for(self, vm: str) -> tuple[str, ...]:
        """The addresses kept for a VM (``namespace/name``), in the manifest's order."""
        kept = (address for address, holder in self.reservations.items() if holder == vm)
        return tuple(address for address in kept if ip_address(address) not in self.former)

    def refuse(self, address: str, vm: str) -> str | None:
        """Why this VM (``namespace/name``) may not ask for this address of the pool's family; None where it may.

        An address outside ``ranges`` may be asked for: ranges bound what is chosen automatically. A reservation
        within ``excludes`` holds for its VM.
        """
        ip = ip_address(address)
        if ip not in self.network:
            return f"{ip} is outside {self.network}; choose an address of that network"
        if ip == self.network.network_address:
            name = "network" if self.network.version == 4 else "subnet-router anycast"
            return f"{ip} is the {name} address; choose another"
        if ip in _broadcast(self.network):
            return f"{ip} is the broadcast address; choose another"
        if ip == self.gateway:
            return f"{ip} is the gateway; choose another"
        if ip in self.own:
            return f"{ip} is an address of the Vpc's router or of the multicast querier; choose another"
        if ip in self.former:
            return f"{ip} was the router's, and guests use it until they renew their leases; choose another, or wait"
        holder = self.reservations.get(str(ip))
        if holder is not None:
            who = f"VM {holder}" if holder.partition("/")[0] == vm.partition("/")[0] else "a VM of another namespace"
            return None if holder == vm else f"{ip} is reserved for {who}; choose another"
        if _within(int(ip), self.excludes):
            return f"{ip} is excluded; choose another"
        return None

    def candidates(
        self,
        seed: str,
        taken: Occupied,
        cooling: Mapping[str, datetime],
        now: datetime,
        first: Iterable[str] = (),
    ) -> Iterator[str]:
        """Addresses to try, every free one once: from a place that the seed decides on, around the pool.

        So the same NIC tends to get the same address again, and replicas that choose at once rarely collide. Addresses
        freed lately come last, the one that has cooled longest first. ``first``: what the NIC itself had lately.
        """
        again = sorted(address for address in first if self.offers(address) and int(ip_address(address)) not in taken)
        yield from again
        cooled = []
        for number in self._free_around(seed, taken):
            address = str(self._address(number))
            if address in again:
                continue
            until = cooling.get(address)
            if until is not None and until > now:
                cooled.append((until, number, address))
            else:
                yield address
        for _, _, address in sorted(cooled):
            yield address

    def _address(self, number: int) -> Address:
        return IPv4Address(number) if self.network.version == 4 else IPv6Address(number)

    def _free_around(self, seed: str, taken: Occupied) -> Iterator[int]:
        for first, last in self._around(seed):
            number = taken.free_from(first)
            while number <= last:
                yield number
                number = taken.free_from(number + 1)

    def _around(self, seed: str) -> Iterator[Interval]:
        """What is handed out, from a place that the seed decides on."""
        ends = list(accumulate(last - first + 1 for first, last in self.free))
        if not ends:
            return
        start = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) % ends[-1]
        place = bisect.bisect_right(ends, start)
        first, last = self.free[place]
        begin = last + 1 - (ends[place] - start)
        yield begin, last
        yield from self.free[place + 1 :]
        yield from self.free[:place]
        yield first, begin - 1


def _broadcast(network: Network) -> tuple[Address, ...]:
    """The last address where nobody may have it: IPv6 has no broadcast."""
    return (network.broadcast_address,) if network.version == 4 else ()


def _within(number: int, intervals: Sequence[Interval]) -> bool:
    """Whether one of sorted intervals has it."""
    place = bisect.bisect_right(intervals, number, key=lambda interval: interval[0])
    return place > 0 and number <= intervals[place - 1][1]


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

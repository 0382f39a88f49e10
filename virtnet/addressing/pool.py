"""A Subnet's addresses of one family: which may be handed out, and in which order."""

import bisect
import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import accumulate, chain
from typing import Self

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
        reservations: Mapping[Address, str],
        hops: Iterable[Address] = (),
    ) -> Self:
        """The pool of a network, whose parts all lie in it. No ``ranges``: all of it.

        ``hops``: machines that guests are told to route by. They may ask for their addresses, others get them not.
        """
        whole = (int(network.network_address), int(network.broadcast_address))
        excludes, own = tuple(excludes), frozenset(own)
        single = (network.network_address, gateway, *_broadcast(network), *own, *reservations, *hops)
        taken = _merge((*excludes, *((int(address), int(address)) for address in single)))
        return cls(
            network,
            gateway,
            _merge(excludes),
            own,
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
        number = int(ip_address(address))
        place = bisect.bisect_right(self.free, number, key=lambda interval: interval[0])
        return place > 0 and number <= self.free[place - 1][1]

    def reserved_for(self, vm: str) -> tuple[str, ...]:
        """The addresses kept for a VM (``namespace/name``), in the manifest's order."""
        return tuple(address for address, holder in self.reservations.items() if holder == vm)

    def refuse(self, address: str, vm: str) -> str | None:
        """Why this VM (``namespace/name``) may not ask for this address of the pool's family; None where it may.

        An address outside ``ranges`` may be asked for: ranges bound what is chosen automatically. A reservation
        within ``excludes`` holds for its VM.
        """
        asked = ip_address(address)
        if asked not in self.network:
            return f"{asked} is outside {self.network}; choose an address of that network"
        if asked == self.network.network_address:
            name = "network" if self.network.version == 4 else "subnet-router anycast"
            return f"{asked} is the {name} address; choose another"
        if asked in _broadcast(self.network):
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
            address = str(self._address(number))
            if address in taken:
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

    def _around(self, seed: str) -> Iterator[int]:
        sizes = [last - first + 1 for first, last in self.free]
        ends = list(accumulate(sizes))
        if not ends:
            return
        start = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) % ends[-1]
        for index in chain(range(start, ends[-1]), range(start)):
            place = bisect.bisect_right(ends, index)
            yield self.free[place][0] + index - (ends[place] - sizes[place])


def _broadcast(network: Network) -> tuple[Address, ...]:
    """The last address where nobody may have it: IPv6 has no broadcast."""
    return (network.broadcast_address,) if network.version == 4 else ()


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

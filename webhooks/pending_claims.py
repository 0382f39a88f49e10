"""Claims that this process is just making: not leases yet, and nothing for its other requests to try meanwhile."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from virtnet.api import SubnetRef


class PendingClaims:
    """Which leases are being claimed. All in one event loop, so nothing happens between a look and a claim."""

    def __init__(self) -> None:
        self._names: Counter[str] = Counter()
        self._ends: defaultdict[SubnetRef, set[asyncio.Event]] = defaultdict(set)

    def __contains__(self, lease: object) -> bool:
        return lease in self._names

    @contextmanager
    def claim(self, lease: str, subnet: SubnetRef) -> Iterator[None]:
        """While a lease is being claimed."""
        end = asyncio.Event()
        self._names[lease] += 1
        self._ends[subnet].add(end)
        try:
            yield
        finally:
            self._names -= Counter((lease,))
            self._ends[subnet].discard(end)
            end.set()

    async def settled(self, subnet: SubnetRef) -> bool:
        """When all claims of now in a Subnet have ended; False if there is none."""
        ends = tuple(self._ends[subnet])
        for end in ends:
            await end.wait()
        return bool(ends)

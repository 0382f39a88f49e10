"""Addresses that are held for VMs and pods that nobody has seen yet."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from virtnet.addressing.held import HeldAddress
from virtnet.api import SubnetRef
from virtnet.api.addresses import family

CREATED_WITHIN = 35.0
"""Seconds. The API server ends a create after 34, whatever it waits for: what has not come by then never does."""


class Reservations:
    """Leases that are not bound, by Subnet and family, in the order of their age.

    Age is counted from when this process heard of a claim, by its own clock: those of others may be minutes behind.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: defaultdict[tuple[SubnetRef, str], dict[str, tuple[float, HeldAddress]]] = defaultdict(dict)
        self._count: Counter[tuple[str, SubnetRef, str]] = Counter()
        self._looked_at: set[str] = set()

    def count(self, namespace: str, subnet: SubnetRef, kinds: Iterable[str]) -> int:
        """How many of some families a namespace has in a Subnet."""
        return sum(self._count[namespace, subnet, kind] for kind in kinds)

    def add(self, lease: HeldAddress) -> None:
        kind = family(lease.address)
        self._known[lease.subnet, kind][lease.name] = (self._clock(), lease)
        self._count[lease.namespace, lease.subnet, kind] += 1

    def discard(self, lease: HeldAddress) -> None:
        kind = family(lease.address)
        place, holding = (lease.subnet, kind), (lease.namespace, lease.subnet, kind)
        del self._known[place][lease.name]
        self._count[holding] -= 1
        if not self._known[place]:
            del self._known[place]
        if not self._count[holding]:
            del self._count[holding]

    def overdue(self, subnet: SubnetRef, kinds: Iterable[str], namespace: str = "") -> Iterator[HeldAddress]:
        """Those of some families whose VM or pod should have come, the oldest first. ``namespace``: whose."""
        before = self._clock() - CREATED_WITHIN
        for kind in kinds:
            for since, lease in tuple(self._known.get((subnet, kind), {}).values()):
                if since > before:
                    break
                if lease.name not in self._looked_at and namespace in ("", lease.namespace):
                    yield lease

    @contextmanager
    def looking_at(self, lease: HeldAddress) -> Iterator[None]:
        """While the API server is asked about one, nobody else is given it."""
        self._looked_at.add(lease.name)
        try:
            yield
        finally:
            self._looked_at.discard(lease.name)

    def postpone(self, lease: HeldAddress) -> None:
        """Count one as young again: nobody asks the API server about it twice within that time."""
        known = self._known.get((lease.subnet, family(lease.address)), {})
        if known.pop(lease.name, None) is not None:
            known[lease.name] = (self._clock(), lease)

"""VLANs as OpenFlow asks for them: numbers that have some bits alike."""

from collections.abc import Iterable, Iterator

from virtnet.node.flows import MaskedVlan

_ALL = 4096


def all_but(permitted: Iterable[range]) -> Iterator[MaskedVlan]:
    """All numbers of VLANs that are in no range, 0 among them: the fewest masks for each gap.

    >>> list(all_but([range(1, 4096)]))
    [MaskedVlan(vid=0, mask=4095)]
    """
    first = 0
    for one in (*sorted(permitted, key=lambda one: one.start), range(_ALL, _ALL)):
        yield from _gap(first, one.start)
        first = max(first, one.stop)


def _gap(first: int, end: int) -> Iterator[MaskedVlan]:
    while first < end:
        size = first & -first or _ALL
        while first + size > end:
            size //= 2
        yield MaskedVlan(first, _ALL - size)
        first += size

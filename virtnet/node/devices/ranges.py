"""Many names and numbers, written as ranges."""

import re
from collections.abc import Iterable, Iterator

_TAIL = re.compile(r"(.*?)(\d{1,9})$", re.ASCII)


def numbers(found: Iterable[int]) -> str:
    """Numbers in rising order.

    >>> numbers([7, 0, 1, 2])
    '0-2,7'
    """
    runs = _runs(sorted(set(found)))
    return ",".join(f"{first}-{last}" if first != last else str(first) for first, last in runs)


def addresses(found: Iterable[str]) -> str:
    """PCI addresses, in their order; those that follow each other, as the numbers of a bus do, are one range.

    >>> addresses(["0000:3b:00.6", "0000:3b:00.7", "0000:3b:01.0", "0000:3c:00.0"])
    '0000:3b:00.6-0000:3b:01.0,0000:3c:00.0'
    """
    parts: list[list[str]] = []
    for address in found:
        if parts and _place(address) == _place(parts[-1][-1]) + 1:
            parts[-1] = [parts[-1][0], address]
        else:
            parts.append([address])
    return ",".join("-".join(part) for part in parts)


def names(found: Iterable[str]) -> tuple[str, ...]:
    """Names that differ in the number at their end alone are one.

    >>> names(["pf0vf0", "pf0vf1", "pf0vf3", "pf0"])
    ('pf0', 'pf0vf0-1,3')
    """
    groups: dict[str, set[int]] = {}
    whole = set()
    for name in found:
        match = _TAIL.fullmatch(name)
        if match is None or (match[2] != "0" and match[2].startswith("0")):
            whole.add(name)
        else:
            groups.setdefault(match[1], set()).add(int(match[2]))
    return tuple(sorted([*whole, *(head + numbers(tails) for head, tails in groups.items())]))


def _place(address: str) -> int:
    """A PCI address as a number; one of another bus follows none."""
    head, _, function = address.partition(".")
    parts = head.split(":")
    if len(parts) != 3:
        return -2
    domain, bus, slot = (int(part, 16) for part in parts)
    return domain << 16 | bus << 8 | slot << 3 | int(function, 16)


def _runs(found: list[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for end in range(1, len(found) + 1):
        if end == len(found) or found[end] != found[end - 1] + 1:
            yield found[start], found[end - 1]
            start = end

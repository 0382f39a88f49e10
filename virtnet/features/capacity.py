"""How full a Subnet is, for whoever looks at it before, or after, somebody was refused. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from virtnet.addressing.pool import Pool
from virtnet.addressing.pools import LARGEST_COUNT, capacity
from virtnet.api.addresses import family
from virtnet.engine.outcome import ConditionState

FULL = "Full"
"""Condition of a Subnet; there is none where it has never been full."""


def full_state(pools: Iterable[Pool], leased: Sequence[str]) -> ConditionState:
    """Whether no address is left, of which family, and what to do."""
    message = exhausted(pools, leased)
    reason = "AddressesExhausted" if message else "AddressesAvailable"
    return ConditionState(FULL, holds=bool(message), reason=reason, message=message)


def exhausted(pools: Iterable[Pool], leased: Sequence[str]) -> str:
    """Of which family none is left that could be handed out, and what to do; empty where there are some of each.

    Those that are reserved, or were asked for though they are not handed out by themselves, do not count.
    """
    for pool in pools:
        if len(leased) < pool.size:
            continue
        if sum(pool.offers(address) for address in leased if family(address) == pool.family) >= pool.size:
            return (
                f"no {pool.family} address is left of the {pool.size} that are handed out; delete VMs that are not "
                "needed, or extend the Subnet's ranges"
            )
    return ""


def counts(pools: Sequence[Pool], leased: Sequence[str]) -> Mapping[str, int]:
    """The fields ``capacity``, ``used`` and ``available`` of a Subnet's status. ``leased``: MACs, too."""
    used = Counter(map(family, leased))
    kept = [len(pool.reservations.keys() - leased) if pool.reservations else 0 for pool in pools]
    left = [pool.capacity - used[pool.family] - others for pool, others in zip(pools, kept, strict=True)]
    return {
        "capacity": capacity(pools) if pools else 0,
        "used": max(used["IPv4"], used["IPv6"]),
        "available": max(0, min([LARGEST_COUNT, *left])) if pools else 0,
    }


def counts_of_macs(leased: Sequence[str]) -> Mapping[str, int | None]:
    """The same fields where MACs alone are pinned: nothing runs out there."""
    return {"capacity": None, "used": Counter(map(family, leased))["MAC"], "available": None}

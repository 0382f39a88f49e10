"""Whether a Subnet has addresses left, for whoever looks at it before, or after, somebody was refused. Pure."""

from collections.abc import Iterable, Sequence

from virtnet.addressing.pool import Pool
from virtnet.api import Condition, set_condition
from virtnet.api.addresses import family

FULL = "Full"
"""Condition of a Subnet; there is none where it has never been full."""


def full(pools: Iterable[Pool], leased: Sequence[str]) -> str:
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


def fullness_conditions(conditions: tuple[Condition, ...], message: str, generation: int) -> tuple[Condition, ...]:
    """The conditions, with ``Full`` where it is, or has been."""
    if not message and not any(one.type == FULL for one in conditions):
        return conditions
    reason = "NoneLeft" if message else "SomeLeft"
    return set_condition(conditions, FULL, status=bool(message), reason=reason, message=message, generation=generation)

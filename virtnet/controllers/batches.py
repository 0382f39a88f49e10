"""One bad part of a batch must not hold up the others, and costs few further tries."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

K = TypeVar("K")


async def bisect(
    keys: Sequence[K], attempt: Callable[[Sequence[K]], Awaitable[None]], shared: tuple[type[Exception], ...]
) -> dict[K, Exception]:
    """Do something to all keys at once, and where that is refused, to each half of them in turn.

    Returns the keys that are refused even alone, and why. For one of n these are at most 2 log2(n) + 1 attempts. What
    one key needs of another comes with it or before it: halves are tried in the order of the keys. Errors of the types
    ``shared``, such as a lost connection, are no key's own, and are raised at once.
    """
    if not keys:
        return {}
    try:
        await attempt(keys)
    except shared:
        raise
    except Exception as error:  # noqa: BLE001 - whichever it is, the other keys must not wait for its cure
        if len(keys) == 1:
            return {keys[0]: error}
        middle = len(keys) // 2
        first = await bisect(keys[:middle], attempt, shared)
        return first | await bisect(keys[middle:], attempt, shared)
    return {}

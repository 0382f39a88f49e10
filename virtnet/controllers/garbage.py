"""When the controller looks for garbage: what it knows is none, and a migration would wait for a full look at it."""

import asyncio
import gc
from collections.abc import Callable

SECONDS = 1.0
"""Between two looks whether there is a pause."""
PATIENCE = 300
"""So many of these looks garbage is left for want of one."""
_NEVER = 2**30


async def collect_in_pauses(busy: Callable[[], bool]) -> None:
    """Look for old garbage only while there is nothing to do, until cancelled.

    Python by itself looks when a quarter more is old: for 40 ms after 2,000 Ports were looked at again. What the start
    has made is spared for good.
    """
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)
    try:
        while busy():
            gc.freeze()
            await asyncio.sleep(SECONDS)
        gc.freeze()
        left = PATIENCE
        while True:
            await asyncio.sleep(SECONDS)
            if gc.get_count()[2] <= old:  # so often the middle-aged were looked at since
                continue
            left -= 1
            if left <= 0 or not busy():
                gc.collect()
                left = PATIENCE
    finally:
        gc.set_threshold(young, middle, old)

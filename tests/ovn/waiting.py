"""How tests of clients wait for what a server's news brings about."""

import asyncio
from collections.abc import Callable


async def until(holds: Callable[[], object]) -> None:
    """Wait for a condition. Raises TimeoutError."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - what is waited for is not always told
            await asyncio.sleep(0.01)

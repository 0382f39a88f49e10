"""A worker: keys that need another look come in, one call at a time handles all that have come so far.

One worker handles a key sequentially, so what it decides from cannot change under its own hands.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta

import structlog

from virtnet.kube.errors import ApiError
from virtnet.ovn import errors as ovn

log = structlog.get_logger()

FIRST_RETRY = timedelta(seconds=0.05)
LAST_RETRY = timedelta(seconds=5)
AT_ONCE = 32

Handle = Callable[[frozenset[str]], Awaitable[frozenset[str]]]
"""Handles keys; returns those that failed and are to be tried again."""


class Worker:
    """Batches nudges: ``handle`` gets every key nudged since its last call.

    A key that fails is retried later and later, and holds up no other. ``Fenced`` is not
    caught: somebody else leads.
    """

    def __init__(self, name: str, handle: Handle, *, pause: float = 0) -> None:
        """``pause``: seconds to gather nudges after each batch, where nobody waits for the result."""
        self.name = name
        self._handle = handle
        self._pause = pause
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}

    def nudge(self, keys: Iterable[str]) -> None:
        self._dirty.update(keys)
        if self._dirty:
            self._wake.set()

    def nudge_later(self, key: str, delay: timedelta) -> None:
        """Nudge after a delay; an earlier appointment for the same key stands."""
        loop = asyncio.get_running_loop()
        due = loop.time() + delay.total_seconds()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._ring, key)

    def _ring(self, key: str) -> None:
        del self._timers[key]
        self.nudge([key])

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._dirty = frozenset(self._dirty), set()
            failed = await self._handle(batch)
            for key in batch - failed:
                self._failures.pop(key, None)
            for key in failed:
                times = self._failures[key] = self._failures.get(key, 0) + 1
                self.nudge_later(key, min(FIRST_RETRY * 2 ** min(times, 10), LAST_RETRY))
            await asyncio.sleep(self._pause)


async def each(keys: Iterable[str], do: Callable[[str], Awaitable[None]]) -> frozenset[str]:
    """Do it for each key, some at once; the keys for which the API server did not let us."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(key: str) -> str | None:
        async with limit:
            try:
                await do(key)
            except ApiError as error:
                log.warning("to be retried", key=key, error=str(error))
                return key
            except Exception:  # one object that nobody thought of must not stop the work on all others
                log.exception("to be retried", key=key)
                return key
        return None

    return frozenset(key for key in await asyncio.gather(*map(one, keys)) if key is not None)


async def together(keys: frozenset[str], do: Callable[[frozenset[str]], Awaitable[None]]) -> frozenset[str]:
    """Do it for all keys in one; all of them where it could not be done now."""
    try:
        await do(keys)
    except (ApiError, ovn.Unavailable) as error:
        log.warning("to be retried", keys=len(keys), error=str(error))
        return keys
    return frozenset()

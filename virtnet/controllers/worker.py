"""A worker: keys that need another look come in, one call at a time handles all that have come so far.

One worker handles a key sequentially, so what it decides from cannot change under its own hands.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta

import structlog

from virtnet.kube.errors import ApiError
from virtnet.ovn.northbound import Fenced

log = structlog.get_logger()

FIRST_RETRY = 0.05
LAST_RETRY = 5.0


class Worker:
    """Batches nudges. ``handle`` gets every key nudged since its last call.

    A batch that fails is retried whole, later and later, together with what has been nudged meanwhile; ``Fenced``
    ends the worker, because somebody else leads.
    """

    def __init__(self, name: str, handle: Callable[[frozenset[str]], Awaitable[None]], *, pause: float = 0) -> None:
        """``pause``: seconds to gather nudges after each batch, where nobody waits for the result."""
        self.name = name
        self._pause = pause
        self._handle = handle
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def nudge(self, keys: Iterable[str]) -> None:
        self._dirty.update(keys)
        if self._dirty:
            self._wake.set()

    def nudge_later(self, key: str, delay: timedelta) -> None:
        """Nudge after a delay; an earlier appointment for the same key stands."""
        loop = asyncio.get_running_loop()
        due = loop.time() + delay.total_seconds()
        timer = self._timers.get(key)
        if timer is not None and not timer.cancelled() and timer.when() <= due and timer.when() > loop.time():
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._ring, key)

    def _ring(self, key: str) -> None:
        self._timers.pop(key, None)
        self.nudge([key])

    async def run(self) -> None:
        delay = FIRST_RETRY
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._dirty = frozenset(self._dirty), set()
            try:
                await self._handle(batch)
                delay = FIRST_RETRY
                await asyncio.sleep(self._pause)
            except Fenced:
                raise
            except (ApiError, OSError, TimeoutError) as error:
                log.warning("retrying", worker=self.name, keys=len(batch), delay=delay, error=str(error))
                self._dirty |= batch
                await asyncio.sleep(delay)
                delay = min(delay * 2, LAST_RETRY)
                self._wake.set()

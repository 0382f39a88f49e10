"""Whose turn it is: few requests are decided at once, each namespace in its turn, and what is too late is not begun.

Without, a burst is worked on as a whole, ends after everybody has given up, and all of that work was for nothing.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

AT_ONCE = 16
"""Enough to keep the process busy while leases are being written."""

MOST_WAITING = 1024

RESERVE_SECONDS = 0.5
"""Before the caller's time is up: what an answer takes to get there, and a request took to get here."""

SMOOTHING = 0.1
"""The weight of the latest decision in how long one takes."""


class TooLate(Exception):  # noqa: N818 - says what the request is
    """A request that cannot be decided while its caller waits."""


@dataclass(eq=False)
class _Waiting:
    until: float
    is_gone: Callable[[], bool]
    begun: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Turns:
    """Requests that are being decided, and those that wait. All in one event loop."""

    def __init__(self, at_once: int = AT_ONCE, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once = at_once
        self._clock = clock
        self._running = 0
        self._waiting: dict[str, deque[_Waiting]] = {}
        """By namespace, the one whose turn is next first."""
        self._seconds = 0.0
        """How long a decision takes of late."""

    @asynccontextmanager
    async def turn(self, namespace: str, *, until: float, is_gone: Callable[[], bool]) -> AsyncIterator[None]:
        """While a request is decided whose caller waits ``until`` then. Raises TooLate where it cannot be by then."""
        await self._begin(namespace, _Waiting(until - RESERVE_SECONDS, is_gone))
        began = self._clock()
        try:
            yield
        finally:
            self._seconds += SMOOTHING * (self._clock() - began - self._seconds)
            self._running -= 1
            self._next()

    def seconds_to_wait(self, namespace: str) -> float:
        """How long a request of a namespace would wait for its turn."""
        if self._running < self._at_once:
            return 0.0
        own = len(self._waiting.get(namespace, ()))
        before = sum(min(len(others), own + 1) for name, others in self._waiting.items() if name != namespace)
        return self._seconds * (own + before + 1) / self._at_once

    async def _begin(self, namespace: str, one: _Waiting) -> None:
        if self._running < self._at_once:
            self._running += 1
            return
        count = sum(map(len, self._waiting.values()))
        if count >= MOST_WAITING or self._clock() + self.seconds_to_wait(namespace) + self._seconds > one.until:
            raise TooLate
        self._waiting.setdefault(namespace, deque()).append(one)
        try:
            await one.begun
        except asyncio.CancelledError:
            if not one.begun.cancelled():  # its turn had just come
                self._running -= 1
                self._next()
            raise

    def _next(self) -> None:
        """Begin what comes next; what nobody waits for any more ends here."""
        while self._waiting and self._running < self._at_once:
            namespace, queue = next(iter(self._waiting.items()))
            one = queue.popleft()
            del self._waiting[namespace]
            if queue:
                self._waiting[namespace] = queue  # behind the others
            if one.begun.done():
                continue
            if one.is_gone() or self._clock() + self._seconds > one.until:
                one.begun.set_exception(TooLate())
                continue
            self._running += 1
            one.begun.set_result(None)

"""Workers: keys that need another look come in, and are looked at as soon as may be, each by one at a time.

So what a key is decided from cannot change under the hands of who decides.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from itertools import islice

import structlog

from virtnet.kube.errors import ApiError
from virtnet.ovn import errors as ovn

log = structlog.get_logger()

FIRST_RETRY = timedelta(seconds=0.05)
LAST_RETRY = timedelta(seconds=5)
AT_ONCE = 32
FEW = 4
PART = 500
"""How many keys of an audit are handled in one go: about 50 ms, for which whatever happens meanwhile has to wait."""

Handle = Callable[[frozenset[str]], Awaitable[frozenset[str]]]
"""Handles keys; returns those that failed and are to be tried again."""


class Worker(ABC):
    """Takes nudges. What has failed is tried again later and later, and holds up nothing else.

    ``Fenced`` is not caught: somebody else leads.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._wake = asyncio.Event()
        self._urgent: dict[str, None] = {}
        self._background: dict[str, None] = {}
        self._busy: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}

    @abstractmethod
    async def run(self) -> None: ...

    def waiting(self) -> int:
        """How many keys are to be looked at, or are being looked at."""
        return len(self._urgent) + len(self._background) + len(self._busy)

    def nudge(self, keys: Iterable[str]) -> None:
        """Something has happened to these."""
        for key in keys:
            self._background.pop(key, None)
            self._urgent[key] = None
        self._wake_up()

    def audit(self, keys: Iterable[str]) -> None:
        """Look at these in this order, whenever there is nothing else to do."""
        self._background |= dict.fromkeys(key for key in keys if key not in self._urgent)
        self._wake_up()

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

    def _wake_up(self) -> None:
        if self._urgent or self._background:
            self._wake.set()

    def _done(self, keys: Iterable[str], failed: frozenset[str]) -> None:
        for key in keys:
            if key not in failed:
                self._failures.pop(key, None)
                continue
            times = self._failures[key] = self._failures.get(key, 0) + 1
            self.nudge_later(key, min(FIRST_RETRY * 2 ** min(times, 10), LAST_RETRY))


class Batches(Worker):
    """One call at a time handles all that has come since the last one."""

    def __init__(self, name: str, handle: Handle, *, pause: float = 0) -> None:
        """``pause``: seconds to gather nudges after each batch, where nobody waits for the result."""
        super().__init__(name)
        self._handle = handle
        self._pause = pause

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            batch = self._take()
            self._done(batch, await self._handle(batch))
            self._busy = set()
            await asyncio.sleep(self._pause)

    def _take(self) -> frozenset[str]:
        """All that is urgent, with some of what is not."""
        batch, self._urgent = set(self._urgent), {}
        for key in list(islice(self._background, max(0, PART - len(batch)))):
            del self._background[key]
            batch.add(key)
        self._busy = batch
        self._wake.clear()
        self._wake_up()
        return frozenset(batch)


class Singles(Worker):
    """One call for each key, some of them at once: a slow one does not hold up the next."""

    def __init__(self, name: str, do: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(name)
        self._do = do
        self._room = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                await self._room.acquire()
                key = self._take()
                if key is None:
                    self._wake.clear()
                    self._room.release()
                else:
                    group.create_task(self._one(key), name=f"{self.name} {key}")

    def _take(self) -> str | None:
        for lane in (self._urgent, self._background):
            for key in lane:
                if key not in self._busy:
                    del lane[key]
                    self._busy.add(key)
                    return key
        return None

    async def _one(self, key: str) -> None:
        try:
            done = await attempt(key, self._do)
            self._done([key], frozenset() if done else frozenset({key}))
        finally:
            self._busy.discard(key)
            self._room.release()
            self._wake_up()


async def attempt(key: str, do: Callable[[str], Awaitable[None]]) -> bool:
    """Whether it could be done now."""
    try:
        await do(key)
    except ApiError as error:
        log.warning("to be retried", key=key, error=str(error))
        return False
    except Exception:  # one object that nobody thought of must not stop the work on all others
        log.exception("to be retried", key=key)
        return False
    return True


async def each(keys: Iterable[str], do: Callable[[str], Awaitable[None]]) -> frozenset[str]:
    """Do it for each key, few at once because nobody waits; the keys for which it could not be done now."""
    rest = iter(keys)

    async def some() -> list[str]:
        return [key for key in rest if not await attempt(key, do)]

    failed = await asyncio.gather(*(some() for _ in range(FEW)))
    return frozenset(key for part in failed for key in part)


async def together(keys: frozenset[str], do: Callable[[frozenset[str]], Awaitable[None]]) -> frozenset[str]:
    """Do it for all keys in one; all of them where it could not be done now."""
    try:
        await do(keys)
    except (ApiError, ovn.Unavailable) as error:
        log.warning("to be retried", keys=len(keys), error=str(error))
        return keys
    return frozenset()

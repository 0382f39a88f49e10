"""One object is handled sequentially, different ones at once; and what failed is tried again."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import structlog

from virtnet.kube.errors import ApiError

log = structlog.get_logger()

T = TypeVar("T", bound=Hashable)

SHORTEST, LONGEST = 0.05, 5.0


class Hitch(Exception):  # noqa: N818 - what it is
    """Something outside failed that may work the next time."""


class Again(Exception):  # noqa: N818 - an instruction
    """Nothing is wrong, or nothing new: look at it again after some seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"again in {seconds} s")
        self.seconds = seconds


class Worker(Generic[T]):
    """Calls ``reconcile`` for every key that was nudged, and once more for every nudge that came meanwhile."""

    def __init__(self, name: str, reconcile: Callable[[T], Awaitable[None]]) -> None:
        self._log = log.bind(worker=name)
        self._reconcile = reconcile
        self._tasks: dict[T, asyncio.Task[None]] = {}
        self._again: set[T] = set()
        self._failures: dict[T, int] = {}
        self.open = False

    def nudge(self, key: T) -> None:
        """Something about the object is new. Before ``start``, it is only remembered."""
        self._again.add(key)
        if self.open and key not in self._tasks:
            task = asyncio.create_task(self._work(key))
            self._tasks[key] = task

    def start(self) -> None:
        self.open = True
        for key in list(self._again):
            self.nudge(key)

    async def _work(self, key: T) -> None:
        try:
            while key in self._again:
                self._again.discard(key)
                await self._once(key)
        finally:
            del self._tasks[key]

    async def _once(self, key: T) -> None:
        try:
            await self._reconcile(key)
        except Again as again:
            self._later(key, again.seconds)
        except (ApiError, Hitch) as problem:
            self._log.warning("will try again", key=key, problem=str(problem))
            self._later(key, self._backoff(key))
        except Exception:  # noqa: BLE001 - logged whole
            # One broken object must not take the whole lab down; the log has everything.
            self._log.exception("failed, will try again", key=key)
            self._later(key, self._backoff(key))
        else:
            self._failures.pop(key, None)

    def _backoff(self, key: T) -> float:
        self._failures[key] = self._failures.get(key, 0) + 1
        return float(min(SHORTEST * 2 ** self._failures[key], LONGEST))

    def _later(self, key: T, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self.nudge, key)

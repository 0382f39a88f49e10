"""Queues of tasks: what is due comes in, and is taken in the order of its priority, each by one at a time.

So what a task is decided from cannot change under the hands of who decides.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from datetime import timedelta
from typing import Any, Generic, TypeVar

import structlog

from virtnet.engine.due import Priority
from virtnet.kube.errors import ApiError

log = structlog.get_logger()

T = TypeVar("T", bound=Hashable)

FIRST_RETRY = timedelta(seconds=0.05)
LAST_RETRY = timedelta(seconds=5)
AT_ONCE = 32


class Queue(Generic[T]):
    """Tasks that are due. What has failed is due again later and later, and holds up nothing else."""

    def __init__(self, name: str, rank: Callable[[T], int] = lambda _: 0, ranks: int = 1) -> None:
        """``rank``: of ``ranks`` many; of two tasks that are equally urgent the one of the lower rank comes first."""
        self.name = name
        self._rank = rank
        self._lanes: dict[Priority, tuple[OrderedDict[T, None], ...]] = {
            priority: tuple(OrderedDict() for _ in range(ranks)) for priority in Priority
        }
        """A dict of which the first is taken again and again is searched through for it: 50,000 take two seconds."""
        self._due: dict[T, Priority] = {}
        self._wake = asyncio.Event()
        self._timers: dict[T, asyncio.TimerHandle] = {}
        self._failures: dict[T, int] = {}
        self._drained: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._due)

    def add(self, task: T, priority: Priority = Priority.OWN) -> None:
        """Make a task due; one that is due already keeps the more urgent priority."""
        before = self._due.get(task)
        if before is not None:
            if before <= priority:
                return
            del self._lanes[before][self._rank(task)][task]
        self._due[task] = priority
        self._lanes[priority][self._rank(task)][task] = None
        self._wake.set()

    def add_later(self, task: T, delay: timedelta) -> None:
        """Make a task due after a delay; an earlier appointment for the same task stands."""
        loop = asyncio.get_running_loop()
        due = loop.time() + delay.total_seconds()
        timer = self._timers.get(task)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[task] = loop.call_at(due, self._ring, task)

    def failed(self, task: T) -> None:
        """Make a task due again after a while, longer after each failure."""
        times = self._failures[task] = self._failures.get(task, 0) + 1
        self.add_later(task, min(FIRST_RETRY * 2 ** min(times, 10), LAST_RETRY))

    def succeeded(self, task: T) -> None:
        self._failures.pop(task, None)

    @property
    def least(self) -> Priority:
        """The least priority of what may be done with the next task: what is due for others holds up nothing."""
        others = any(any(lanes) for priority, lanes in self._lanes.items() if priority < Priority.REST)
        return Priority.OWN if others else Priority.REST

    def take(self, least: Priority = Priority.REST) -> T | None:
        """The next task that is at least so urgent; None where none is due."""
        lane = next(
            (lane for priority in Priority if priority <= least for lane in self._lanes[priority] if lane), None
        )
        if lane is None:
            self._wake.clear()
            return None
        task, _ = lane.popitem(last=False)
        del self._due[task]
        if not self:
            for wake in self._drained:
                wake()
        return task

    async def wait(self) -> None:
        """Wait until a task may be due."""
        await self._wake.wait()

    def wake(self) -> None:
        """Have whoever waits look again."""
        self._wake.set()

    def on_drained(self, callback: Callable[[], None]) -> None:
        """Call back whenever the last task was taken."""
        self._drained.append(callback)

    def _ring(self, task: T) -> None:
        del self._timers[task]
        self.add(task)


class WorkerPool(Generic[T]):
    """One call for each task, some of them at once: a slow one does not hold up the next."""

    def __init__(
        self,
        queue: Queue[T],
        do: Callable[[T], Awaitable[None]],
        *,
        pause: float = 0,
        after: Queue[Any] | None = None,
        least: Priority = Priority.URGENT,
    ) -> None:
        """``pause``: seconds to gather what becomes due of a task after each call, where nobody waits for it.

        ``after``: what is less urgent than ``least`` waits until that queue is empty.
        """
        self.queue = queue
        self._least = least if after is not None else Priority.REST
        self._after = after
        if after is not None:
            after.on_drained(queue.wake)
        self._do = do
        self._pause = pause
        self._busy: set[T] = set()
        self._again: dict[T, None] = {}
        """Due again while they are busy."""
        self._room = asyncio.Semaphore(AT_ONCE)

    def __len__(self) -> int:
        """How many tasks are due, or are being done."""
        return len(self.queue) + len(self._busy | self._again.keys())

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                await self.queue.wait()
                await self._room.acquire()
                task = self._take()
                if task is None:
                    self._room.release()
                else:
                    group.create_task(self._one(task), name=f"{self.queue.name} {task}")
                    await asyncio.sleep(0)  # else as many as may be done at once would begin in one turn of the loop

    def _take(self) -> T | None:
        least = self._least if self._after else Priority.REST
        while (task := self.queue.take(least)) is not None:
            if task not in self._busy:
                self._busy.add(task)
                return task
            self._again[task] = None
        return None

    async def _one(self, task: T) -> None:
        try:
            if await attempt(task, self._do):
                self.queue.succeeded(task)
            else:
                self.queue.failed(task)
        finally:
            self._room.release()
            if self._pause:
                asyncio.get_running_loop().call_later(self._pause, self._rested, task)
            else:
                self._rested(task)

    def _rested(self, task: T) -> None:
        self._busy.discard(task)
        if task in self._again:
            del self._again[task]
            self.queue.add(task)


async def attempt(task: T, do: Callable[[T], Awaitable[None]]) -> bool:
    """Whether it could be done now."""
    try:
        await do(task)
    except ApiError as error:
        log.warning("to be retried", task=str(task), error=str(error))
        return False
    except Exception:  # one object that nobody thought of must not stop the work on all others
        log.exception("to be retried", task=str(task))
        return False
    return True

"""Turns: few at once, each namespace in its turn, nothing that is too late or that nobody waits for."""

import asyncio
from collections.abc import Callable

import pytest

from webhooks.turns import MOST_WAITING, RESERVE_SECONDS, TooLate, Turns


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Requests:
    """Requests of namespaces, each of which is decided until it is told to end."""

    def __init__(self, at_once: int = 1) -> None:
        self.clock = Clock()
        self.turns = Turns(at_once, self.clock)
        self.begun: list[str] = []
        self.dropped: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, patience: float = 60, is_gone: Callable[[], bool] = lambda: False) -> None:
        """``name``: its namespace, a slash, and what tells it from others."""

        async def run() -> None:
            try:
                async with self.turns.turn(
                    name.partition("/")[0], until=self.clock.now + RESERVE_SECONDS + patience, is_gone=is_gone
                ):
                    self.begun.append(name)
                    await self._ends[name].wait()
            except TooLate:
                self.dropped.append(name)

        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(run())
        await _settled()

    async def end(self, name: str, after: float = 1.0) -> None:
        self.clock.now += after
        self._ends[name].set()
        await self._tasks[name]
        await _settled()

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        await asyncio.wait([self._tasks[name]])
        await _settled()


async def _settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_namespace_with_many_does_not_hold_up_one_with_one() -> None:
    requests = Requests()
    for name in ("bad/0", "bad/1", "bad/2", "bad/3", "good/0"):
        await requests.come(name)
    assert requests.begun == ["bad/0"]
    await requests.end("bad/0")
    await requests.end("bad/1")
    assert requests.begun == ["bad/0", "bad/1", "good/0"]
    await requests.end("good/0")
    assert requests.begun[-1] == "bad/2"


async def test_as_many_as_may_are_decided_at_once() -> None:
    requests = Requests(at_once=2)
    for name in ("a/0", "a/1", "a/2"):
        await requests.come(name)
    assert requests.begun == ["a/0", "a/1"]
    await requests.end("a/1")
    assert requests.begun[-1] == "a/2"


async def test_what_would_be_too_late_is_dropped_at_once() -> None:
    requests = Requests()
    await requests.come("a/0")
    await requests.end("a/0", after=10)  # one second each, by the average of late
    await requests.come("a/1")
    await requests.come("a/2", patience=2.5)
    await requests.come("a/3", patience=2.5)
    assert requests.dropped == ["a/3"]
    await requests.come("b/0", patience=3.5)  # its namespace has none that waits
    assert requests.dropped == ["a/3"]


async def test_what_has_become_too_late_is_not_begun() -> None:
    requests = Requests()
    await requests.come("a/0")
    await requests.come("a/1", patience=5)
    await requests.come("a/2")
    await requests.end("a/0", after=6)
    assert requests.dropped == ["a/1"]
    assert requests.begun == ["a/0", "a/2"]


async def test_nothing_is_done_for_who_has_gone() -> None:
    requests = Requests()
    await requests.come("a/0")
    await requests.come("a/1", is_gone=lambda: True)
    await requests.come("a/2")
    await requests.end("a/0")
    assert requests.begun == ["a/0", "a/2"]


@pytest.mark.parametrize("which", ["a/0", "a/1"])
async def test_what_is_cancelled_leaves_its_place(which: str) -> None:
    requests = Requests()
    await requests.come("a/0")
    await requests.come("a/1")
    await requests.come("a/2")
    await requests.cancel(which)
    if which == "a/1":
        await requests.end("a/0")
    else:
        await requests.end("a/1")
    assert requests.begun[-1] == "a/2"


async def test_no_more_wait_than_can() -> None:
    requests = Requests()
    for number in range(MOST_WAITING + 2):
        await requests.come(f"a/{number}")
    assert requests.dropped == [f"a/{MOST_WAITING + 1}"]
    await asyncio.gather(*(requests.cancel(f"a/{number}") for number in range(MOST_WAITING + 1)))

"""Garbage is looked for while there is nothing to do, and not before; at last all the same."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from virtnet.controllers import garbage
from virtnet.controllers.garbage import collect_in_pauses


class Cycle:
    """Something that only a look for garbage finds, once nobody has it."""

    def __init__(self) -> None:
        self.own = self


@asynccontextmanager
async def collecting(busy: list[bool]) -> AsyncIterator[None]:
    before = gc.get_threshold()
    task = asyncio.create_task(collect_in_pauses(lambda: busy[0]))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        gc.unfreeze()
        assert gc.get_threshold() == before


async def until_gone(there: "weakref.ref[Cycle]") -> None:
    while there() is not None:
        gc.collect(1)
        await asyncio.sleep(0)


async def rounds(number: int) -> None:
    for _ in range(number):
        gc.collect(1)  # what was made before is old from now on
        await asyncio.sleep(0)


def grown_old() -> "weakref.ref[Cycle]":
    """Garbage of the third generation."""
    made = Cycle()
    gc.collect(0)
    gc.collect(1)
    return weakref.ref(made)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "SECONDS", 0)


async def test_what_is_garbage_goes_in_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "PATIENCE", 10_000)
    busy = [False]
    async with collecting(busy):
        await rounds(10)
        busy[0] = True
        await rounds(10)
        there = grown_old()
        await rounds(100)
        assert there() is not None
        busy[0] = False
        await until_gone(there)


async def test_who_is_always_busy_looks_at_last() -> None:
    busy = [False]
    async with collecting(busy):
        await rounds(10)
        busy[0] = True
        there = grown_old()
        await until_gone(there)


async def test_all_that_a_start_makes_is_spared() -> None:
    busy = [True]
    async with collecting(busy):
        there = grown_old()
        await rounds(2)
        busy[0] = False
        await rounds(100)
        assert there() is not None

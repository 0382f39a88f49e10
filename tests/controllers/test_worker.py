"""What workers promise of keys: none is lost, none is in two hands, and nobody waits for a slow neighbour."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from virtnet.controllers.worker import PART, Batches, Singles, Worker
from virtnet.kube.errors import Unavailable


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_slow_key_holds_up_no_other():
    stuck, done = asyncio.Event(), asyncio.Event()

    async def do(key: str) -> None:
        await (stuck.wait() if key == "slow" else asyncio.sleep(0))
        if key == "quick":
            done.set()

    worker = Singles("test", do)
    async with running(worker), asyncio.timeout(10):
        worker.nudge(["slow"])
        await asyncio.sleep(0)
        worker.nudge(["quick"])
        await done.wait()


async def test_a_key_nudged_while_it_is_handled_is_handled_again_afterwards():
    began: asyncio.Queue[str] = asyncio.Queue()
    go = asyncio.Semaphore(0)
    hands = 0

    async def do(key: str) -> None:
        nonlocal hands
        hands += 1
        assert hands == 1
        began.put_nowait(key)
        await go.acquire()
        hands -= 1

    worker = Singles("test", do)
    async with running(worker), asyncio.timeout(10):
        worker.nudge(["a"])
        await began.get()
        worker.nudge(["a"])
        worker.audit(["a"])
        await asyncio.sleep(0)
        assert began.empty()
        go.release()
        await began.get()
        go.release()


async def test_what_fails_is_tried_again():
    tries, done = 0, asyncio.Event()

    async def do(key: str) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Unavailable("not now", code=503)
        done.set()

    worker = Singles("test", do)
    async with running(worker), asyncio.timeout(10):
        worker.nudge(["a"])
        await done.wait()


async def test_an_audit_comes_in_parts_in_its_order_and_lets_others_pass():
    batches: asyncio.Queue[frozenset[str]] = asyncio.Queue()

    async def handle(keys: frozenset[str]) -> frozenset[str]:
        batches.put_nowait(keys)
        if "key0000" in keys:
            worker.nudge(["urgent"])
        return frozenset()

    worker = Batches("test", handle)
    keys = [f"key{number:04}" for number in range(2 * PART)]
    worker.audit(keys)
    async with running(worker), asyncio.timeout(10):
        first, second, third = [await batches.get() for _ in range(3)]
    assert first == frozenset(keys[:PART])
    assert second == {"urgent", *keys[PART : 2 * PART - 1]}
    assert third == {keys[-1]}


async def test_whatever_is_urgent_is_one_batch():
    batches: asyncio.Queue[frozenset[str]] = asyncio.Queue()

    async def handle(keys: frozenset[str]) -> frozenset[str]:
        batches.put_nowait(keys)
        return frozenset()

    worker = Batches("test", handle)
    keys = {str(number) for number in range(2 * PART)}
    worker.nudge(keys)
    async with running(worker), asyncio.timeout(10):
        assert await batches.get() == keys


async def test_what_waits_is_counted_until_it_is_done():
    go = asyncio.Semaphore(0)

    async def batch(keys: frozenset[str]) -> frozenset[str]:
        await go.acquire()
        return frozenset()

    async def single(_: str) -> None:
        await go.acquire()

    for worker in (Batches("test", batch), Singles("test", single)):
        worker.nudge(["a", "b"])
        worker.audit(["c"])
        assert worker.waiting() == 3
        async with running(worker), asyncio.timeout(10):
            await asyncio.sleep(0)
            worker.nudge(["d"])
            assert worker.waiting() == 4
            while worker.waiting():
                go.release()
                await asyncio.sleep(0)

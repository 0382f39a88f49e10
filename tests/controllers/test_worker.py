"""What queues promise of tasks: none is lost, none is in two hands, and nobody waits for a slow neighbour."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from virtnet.controllers.worker import Queue, WorkerPool
from virtnet.engine.due import Priority
from virtnet.kube.errors import Unavailable


@asynccontextmanager
async def running(pool: WorkerPool[str]) -> AsyncIterator[None]:
    task = asyncio.create_task(pool.run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def taken(queue: Queue[str]) -> list[str]:
    """All that is due, in the order in which it is taken."""
    found = []
    while (task := queue.take()) is not None:
        found.append(task)
    return found


async def test_a_slow_task_holds_up_no_other() -> None:
    stuck, done = asyncio.Event(), asyncio.Event()

    async def do(task: str) -> None:
        await (stuck.wait() if task == "slow" else asyncio.sleep(0))
        if task == "quick":
            done.set()

    pool = WorkerPool(Queue[str]("test"), do)
    async with running(pool), asyncio.timeout(10):
        pool.queue.add("slow")
        await asyncio.sleep(0)
        pool.queue.add("quick")
        await done.wait()


async def test_a_task_that_becomes_due_while_it_is_done_is_done_again_afterwards() -> None:
    began: asyncio.Queue[str] = asyncio.Queue()
    go = asyncio.Semaphore(0)
    hands = 0

    async def do(task: str) -> None:
        nonlocal hands
        hands += 1
        assert hands == 1
        began.put_nowait(task)
        await go.acquire()
        hands -= 1

    pool = WorkerPool(Queue[str]("test"), do)
    async with running(pool), asyncio.timeout(10):
        pool.queue.add("a")
        await began.get()
        pool.queue.add("a")
        pool.queue.add("a", Priority.REST)
        await asyncio.sleep(0)
        assert began.empty()
        go.release()
        await began.get()
        go.release()


async def test_what_fails_is_tried_again() -> None:
    tries, done = 0, asyncio.Event()

    async def do(task: str) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Unavailable("not now", code=503)
        done.set()

    pool = WorkerPool(Queue[str]("test"), do)
    async with running(pool), asyncio.timeout(10):
        pool.queue.add("a")
        await done.wait()


async def test_what_becomes_due_of_a_task_that_rests_is_gathered() -> None:
    calls: list[str] = []

    async def do(task: str) -> None:
        calls.append(task)

    pool = WorkerPool(Queue[str]("test"), do, pause=0.05)
    async with running(pool), asyncio.timeout(10):
        pool.queue.add("a")
        while not calls:  # noqa: ASYNC110 - what is looked at is the pool, which tells nobody
            await asyncio.sleep(0)
        for _ in range(5):
            pool.queue.add("a")
            await asyncio.sleep(0)
        while len(pool):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    assert calls == ["a", "a"]


async def test_tasks_are_taken_by_priority_and_then_in_their_order() -> None:
    queue: Queue[str] = Queue("test")
    for number in range(3):
        queue.add(f"rest{number}", Priority.REST)
    queue.add("own")
    queue.add("urgent", Priority.URGENT)
    queue.add("rest1", Priority.URGENT)
    queue.add("own", Priority.REST)
    assert taken(queue) == ["urgent", "rest1", "own", "rest0", "rest2"]


async def test_of_two_appointments_the_earlier_one_stands() -> None:
    queue: Queue[str] = Queue("test")
    queue.add_later("a", timedelta(seconds=0.01))
    queue.add_later("a", timedelta(hours=1))
    queue.add_later("b", timedelta(hours=1))
    queue.add_later("b", timedelta(seconds=0.01))
    async with asyncio.timeout(10):
        while len(queue) < 2:
            await queue.wait()
            await asyncio.sleep(0.001)
    assert sorted(taken(queue)) == ["a", "b"]


async def test_what_waits_is_counted_until_it_is_done() -> None:
    go = asyncio.Semaphore(0)

    async def do(_: str) -> None:
        await go.acquire()

    pool = WorkerPool(Queue[str]("test"), do)
    for task in ("a", "b"):
        pool.queue.add(task)
    pool.queue.add("c", Priority.REST)
    assert len(pool) == 3
    async with running(pool), asyncio.timeout(10):
        await asyncio.sleep(0)
        pool.queue.add("d")
        assert len(pool) == 4
        while len(pool):
            go.release()
            await asyncio.sleep(0)


async def test_what_is_not_urgent_waits_until_another_queue_is_empty() -> None:
    done: list[str] = []
    written = asyncio.Event()
    rows = Queue[str]("rows")

    async def do(task: str) -> None:
        done.append(task)
        written.set()

    pool = WorkerPool(Queue[str]("reports"), do, after=rows)
    rows.add("row")
    async with running(pool), asyncio.timeout(10):
        pool.queue.add("report", Priority.REST)
        pool.queue.add("urgent", Priority.URGENT)
        await written.wait()
        assert done == ["urgent"]
        written.clear()
        assert rows.take() == "row"
        await written.wait()
        assert done == ["urgent", "report"]


async def test_what_is_more_urgent_than_said_waits_for_no_other_queue() -> None:
    """The Ports of a new VM are not held up by all those of a Subnet that has changed."""
    rows, done, made = Queue[str]("rows"), list[str](), asyncio.Event()

    async def do(task: str) -> None:
        done.append(task)
        made.set()

    pool = WorkerPool(Queue[str]("owners"), do, after=rows, least=Priority.OWN)
    rows.add("row")
    async with running(pool), asyncio.timeout(10):
        pool.queue.add("old", Priority.REST)
        pool.queue.add("new", Priority.OWN)
        await made.wait()
        assert done == ["new"]
        made.clear()
        assert rows.take() == "row"
        await made.wait()
        assert done == ["new", "old"]


async def test_of_many_tasks_one_begins_in_each_turn_of_the_loop() -> None:
    turns, began = 0, list[int]()

    async def do(_: str) -> None:
        began.append(turns)

    pool = WorkerPool(Queue[str]("test"), do)
    async with running(pool), asyncio.timeout(10):
        for number in range(20):
            pool.queue.add(str(number))
        while len(began) < 20:
            turns += 1
            await asyncio.sleep(0)
    assert len(set(began)) == 20

"""Blocking work in a thread of its own, which never comes back to do anything else: it may leave its namespaces."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def apart(name: str, work: Callable[[], T]) -> T:
    """The work's result, or what it raises."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            _deliver(loop, outcome, error=error)
        else:
            _deliver(loop, outcome, result=result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await outcome


def _deliver(
    loop: asyncio.AbstractEventLoop,
    outcome: "asyncio.Future[T]",
    *,
    result: T | None = None,
    error: BaseException | None = None,
) -> None:
    def set_it() -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]  # the result is of type T here

    with contextlib.suppress(RuntimeError):  # the loop is gone, and so is who would wait
        loop.call_soon_threadsafe(set_it)

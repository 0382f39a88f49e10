"""Work inside a pod's network namespace: in a thread of its own, which never comes back to do anything else."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pyroute2 import IPRoute
from pyroute2 import netns as pyroute2_netns
from pyroute2.netlink.exceptions import NetlinkError

T = TypeVar("T")


class NamespaceGone(OSError):  # noqa: N818 - says what happened
    """There is no network namespace at this path."""


async def inside(path: str, work: Callable[[IPRoute], T]) -> T:
    """The result of blocking work in the namespace, with a netlink socket there.

    Raises NamespaceGone; what the kernel refuses is an OSError too, by whichever library it was asked.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            try:
                pyroute2_netns.setns(path, flags=0)
            except OSError as error:
                raise NamespaceGone(f"network namespace {path}: {error.strerror}") from error
            with IPRoute() as netlink:
                result = work(netlink)
        except NetlinkError as error:
            refused = OSError(error.code, str(error))
            refused.__cause__ = error
            _deliver(loop, outcome, error=refused)
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            _deliver(loop, outcome, error=error)
        else:
            _deliver(loop, outcome, result=result)

    threading.Thread(target=run, name=f"netns {Path(path).name}", daemon=True).start()
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


def exists(path: str) -> bool:
    """Whether a namespace is there: a bare file of that name, as a crashed runtime leaves, is none."""
    try:
        return Path(path).stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    except OSError:
        return False

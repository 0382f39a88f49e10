"""Work inside a pod's network namespace."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pyroute2 import IPRoute
from pyroute2 import netns as pyroute2_netns
from pyroute2.netlink.exceptions import NetlinkError

from virtnet.node.threads import apart

T = TypeVar("T")


class NamespaceGone(OSError):  # noqa: N818 - says what happened
    """There is no network namespace at this path."""


async def inside(path: str, work: Callable[[IPRoute], T]) -> T:
    """The result of blocking work in the namespace, with a netlink socket there.

    Raises NamespaceGone; what the kernel refuses is an OSError too, by whichever library it was asked.
    """

    def enter_and_work() -> T:
        try:
            pyroute2_netns.setns(path, flags=0)
        except OSError as error:
            raise NamespaceGone(f"network namespace {path}: {error.strerror}") from error
        try:
            with IPRoute() as netlink:
                return work(netlink)
        except NetlinkError as error:
            raise OSError(error.code, str(error)) from error

    return await apart(f"netns {Path(path).name}", enter_and_work)


def exists(path: str) -> bool:
    """Whether a namespace is there: a bare file of that name, as a crashed runtime leaves, is none."""
    try:
        return Path(path).stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    except OSError:
        return False

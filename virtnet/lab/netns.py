"""Network namespaces of the lab: made, wired, entered, and emptied."""

import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

from pyroute2 import netns as pyroute2_netns

from virtnet.lab.names import NETNS

T = TypeVar("T")

DEATH_SECONDS = 10


class NetnsError(Exception):
    """The kernel refused. The message has the command and the answer."""


def prefix(netns: str) -> tuple[str, ...]:
    """What runs a command in the namespace, with its sysfs; the process that it becomes is the command itself.

    It has mounts of its own: a namespace that it makes is one to nobody else.
    """
    return ("ip", "netns", "exec", netns)


def plain_prefix(netns: str) -> tuple[str, ...]:
    """As ``prefix``, but with everybody's mounts (and sysfs), so that it may make namespaces for others."""
    return ("nsenter", f"--net={NETNS / netns}", "--")


def run(*command: str, netns: str = "", stdin: str | None = None) -> str:
    """What a command says, in a namespace if one is named. Raises NetnsError."""
    words = [*(prefix(netns) if netns else ()), *command]
    ran = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise NetnsError(f"{' '.join(words)}: {(ran.stderr or ran.stdout).strip()}")
    return ran.stdout


def ip(netns: str, *lines: str) -> None:
    """Lines of iproute2, in order, in one process. Raises NetnsError at the first that fails."""
    run("ip", "-netns", netns, "-batch", "-", stdin="\n".join(lines))


def create(name: str) -> None:
    """A namespace whose loopback works. Raises NetnsError when it is there already."""
    run("ip", "netns", "add", name)
    ip(name, "link set lo up")


def cable(netns: str, link: str, other_netns: str, other_link: str) -> None:
    """A veth pair between two namespaces, both ends up, without checksum offload: OVS in userspace would drop TCP."""
    ip(netns, f"link add {link} type veth peer name {other_link} netns {other_netns}")
    for where, name in ((netns, link), (other_netns, other_link)):
        ip(where, f"link set {name} up")
        no_checksum_offload(where, name)


def no_checksum_offload(netns: str, link: str) -> None:
    run("ethtool", "-K", link, "tx", "off", netns=netns)


def keep_from_kernel(netns: str, link: str) -> None:
    """Leave what a link receives to a packet socket alone, as a switch in userspace has it.

    The kernel would answer ARP for addresses on other links with this one's MAC, and refuse what it knows no port for.
    """
    chain = f"add chain netdev switched {link} {{ type filter hook ingress device {link} priority 0; policy drop; }}"
    run("nft", f"add table netdev switched; {chain}", netns=netns)


class _Task(threading.Thread, Generic[T]):
    """A thread that enters a namespace and does one thing there: a thread never comes back from one."""

    result: T

    def __init__(self, netns: str, work: Callable[[], T]) -> None:
        super().__init__(name=f"netns {netns}")
        self._netns = netns
        self._work = work
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            pyroute2_netns.setns(self._netns, flags=0)
            self.result = self._work()
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            self.error = error


def inside(netns: str, work: Callable[[], T]) -> T:
    """The result of blocking work whose sockets are in the namespace; raises what it raises, and OSError without one.

    Work that starts threads or an event loop has them in the namespace too.
    """
    task = _Task(netns, work)
    task.start()
    task.join()
    if task.error is not None:
        raise task.error
    return task.result


def processes(names: Iterable[str]) -> list[int]:
    """The processes in these namespaces, other than this one."""
    wanted = set()
    for name in names:
        try:
            found = (NETNS / name).stat()
        except FileNotFoundError:
            continue
        wanted.add((found.st_dev, found.st_ino))
    return [pid for pid in _pids() if pid != os.getpid() and _namespace(pid) in wanted]


def kill_all(names: Iterable[str]) -> None:
    """End every process in these namespaces, and those that they start meanwhile. Raises NetnsError if one stays."""
    names = list(names)
    for _ in range(10):
        pids = processes(names)
        if not pids:
            return
        kill(pids)
    raise NetnsError(f"processes {processes(names)} in {', '.join(names)} do not end")


def kill(pids: Iterable[int]) -> None:
    """End processes at once and wait until they are gone."""
    handles = [handle for pid in pids if (handle := _signalled(pid)) is not None]
    for handle in handles:
        gone = select.poll()
        gone.register(handle, select.POLLIN)
        gone.poll(DEATH_SECONDS * 1000)
        os.close(handle)


def _signalled(pid: int) -> int | None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        os.close(handle)
        return None
    return handle


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _namespace(pid: int) -> tuple[int, int] | None:
    try:
        found = Path(f"/proc/{pid}/ns/net").stat()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None  # gone, or a zombie
    return found.st_dev, found.st_ino

"""A second handle on the queue that a guest reads its frames from: what it never read is still in there.

The handle is a duplicate of QEMU's own (pidfd_getfd(2)), which takes CAP_SYS_PTRACE and the host's view of processes.
It keeps the queue when QEMU has ended. Reading takes a frame away from the guest: only once that lives elsewhere.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute

from virtnet.node.packets import LARGEST, finished

_PIDFD_GETFD = 438
_TUNGETIFF, _TUNGETVNETHDRSZ = 0x800454D2, 0x800454D7
_VNET_HDR, _NO_PACKET_INFO = 0x4000, 0x1000
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Tap:
    """One queue of a tap."""

    descriptor: int

    @classmethod
    def of(cls, descriptor: int) -> "Tap":
        """Takes the descriptor over. Raises OSError where it cannot be read as we have to."""
        try:
            _header_size(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def take(self) -> Iterator[bytes]:
        """Frames that nobody has read, until there is none. What would have to be cut into segments is left out.

        A guest that has started anew since may have agreed with QEMU on another header than it had before.
        """
        with contextlib.suppress(OSError):  # there is none, or no tap any more
            header = _header_size(self.descriptor)
            while True:
                data = os.read(self.descriptor, LARGEST)
                frame = finished(data[:header], data[header:])
                if frame is not None:
                    yield frame

    def close(self) -> None:
        os.close(self.descriptor)


def _header_size(descriptor: int) -> int:
    if not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_NONBLOCK:
        raise OSError(errno.EWOULDBLOCK, "the tap's owner waits in it")
    flags = struct.unpack_from("H", fcntl.ioctl(descriptor, _TUNGETIFF, bytes(40)), 16)[0]
    if not flags & _NO_PACKET_INFO:
        raise OSError(errno.ENOTSUP, "the tap has packet information")
    size = int(struct.unpack("i", fcntl.ioctl(descriptor, _TUNGETVNETHDRSZ, bytes(4)))[0])
    return size if flags & _VNET_HDR else 0


def bridge_members(netlink: IPRoute, index: int) -> frozenset[str]:
    """Names of what is on one bridge with a link; none where it is on no bridge."""
    links = {int(one["index"]): one for one in netlink.get_links()}
    bridge = links[index].get_attr("IFLA_MASTER") if index in links else None
    return frozenset(
        str(one.get_attr("IFLA_IFNAME")) for one in links.values() if bridge and one.get_attr("IFLA_MASTER") == bridge
    )


def duplicates(netns: str, names: frozenset[str]) -> list[Tap]:
    """Handles on all queues of these taps, of processes in a network namespace. Raises OSError, and has none then."""
    namespace = os.stat(netns).st_ino  # noqa: PTH116 - the path may be one of /proc
    found = []
    with contextlib.ExitStack() as undo:
        for pid, number in _holders(namespace, names):
            found.append(Tap.of(_duplicate(pid, number)))
            undo.callback(found[-1].close)
        undo.pop_all()
    return found


def _holders(namespace: int, names: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Process and descriptor. What ends or is closed meanwhile, or is not ours to see, holds nothing."""
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            if (process / "ns/net").stat().st_ino == namespace:
                for one in list((process / "fdinfo").iterdir()):
                    if _tap_of(one) in names:
                        yield int(process.name), int(one.name)


def _tap_of(descriptor: Path) -> str:
    """The tap that a descriptor is a queue of; empty for any other, also for one that is closed by now."""
    try:
        lines = descriptor.read_text().splitlines()
    except OSError:
        return ""
    return next((line.removeprefix("iff:").strip() for line in lines if line.startswith("iff:")), "")


def _duplicate(pid: int, number: int) -> int:
    process = os.pidfd_open(pid)
    try:
        copy = int(_libc.syscall(_PIDFD_GETFD, process, number, 0))
    finally:
        os.close(process)
    if copy < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return copy

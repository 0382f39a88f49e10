"""The kernel's addresses, routes and neighbours by netlink: read, put, taken away."""

import contextlib
import errno
import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from virtnet.node.providers.entries import (
    ADDRESS,
    HEADER_BYTES,
    NEIGHBOUR,
    NUD_KNOWN,
    ROUTE,
    Entry,
    describe,
    local_address,
    merged,
    neighbour,
    neutral,
    parse,
)

_NEW = {ADDRESS: 20, ROUTE: 24, NEIGHBOUR: 28}
_DELETE, _GET = 1, 2
_REQUEST, _ACK, _REPLACE, _EXCL, _CREATE, _APPEND, _DUMP = 0x1, 0x4, 0x100, 0x200, 0x400, 0x800, 0x300
_DONE, _ERROR = 3, 2
_STRICT, _SOL_NETLINK = 12, 270
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_NUD_PROBE = 0x10
_BIGGEST = 1 << 20
_IFA_ADDRESS = 1
ANSWER_SECONDS = 5
SERVED_SECONDS = 1.0


class Rtnetlink:
    """A socket in the network namespace of the calling thread."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", ANSWER_SECONDS, 0))
        with contextlib.suppress(OSError):
            self._socket.setsockopt(_SOL_NETLINK, _STRICT, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def read(self, index: int, name: str) -> list[Entry]:
        """What an interface has, in the order in which it can be put elsewhere."""
        told = (entry for kind in (ADDRESS, ROUTE, NEIGHBOUR) for entry in self._dump(kind))
        return merged([found for entry in told if (found := neutral(entry, index, name)) is not None])

    def add(self, entry: Entry, index: int) -> None:
        """Put it onto an interface; what is there already stays as it is. Raises OSError.

        An IPv6 address is usable at once: it is the node's own already, only elsewhere.
        """
        extra = _APPEND if entry.kind == ROUTE else _EXCL
        self._change(entry.undoubted, index, _CREATE | extra, fine=errno.EEXIST)
        if entry.undoubted != entry:
            self._change(entry, index, _REPLACE)  # its flags as they were, without another look for duplicates

    def wait_until_served(self, entries: Iterable[Entry], index: int) -> None:
        """Until frames for these IPv6 addresses are taken on an interface: the kernel adds their local routes later, in
        a work queue. Those that are not by then are left to it.
        """
        wanted = {entry.attributes[_IFA_ADDRESS] for entry in entries if entry.family == socket.AF_INET6}
        end = time.monotonic() + SERVED_SECONDS
        while wanted and time.monotonic() < end:
            wanted -= {local_address(told, index) for told in self._dump(ROUTE, socket.AF_INET6)}
            if wanted:
                time.sleep(0.001)

    def delete(self, entry: Entry, index: int) -> None:
        """Take it from an interface; what is gone already is fine. Raises OSError."""
        fine = {ADDRESS: errno.EADDRNOTAVAIL, ROUTE: errno.ESRCH, NEIGHBOUR: errno.ENOENT}[entry.kind]
        self._change(entry, index, 0, fine=fine, delete=True)

    def ask(self, address: str, index: int) -> None:
        """Have the kernel look for a neighbour anew, by ARP or ND. Raises OSError."""
        self.delete(neighbour(address), index)
        self._change(neighbour(address, looked_up=True), index, _CREATE)

    def answered(self, address: str, index: int) -> bool:
        """Whether the neighbour that ``ask`` was about has said where it is."""
        about = neighbour(address)
        return any(
            entry.key == about.key and entry.index == index and entry.state & (NUD_KNOWN | _NUD_PROBE)
            for entry in self._dump(NEIGHBOUR)
        )

    def _change(self, entry: Entry, index: int, flags: int, *, fine: int = 0, delete: bool = False) -> None:
        body = entry.body_to_delete(index) if delete else entry.body(index)
        self._send(_NEW[entry.kind] + (_DELETE if delete else 0), _ACK | flags, body)
        for kind, data in self._answers():
            if kind == _ERROR:
                code = -struct.unpack_from("=i", data)[0]
                if code not in {0, fine, errno.ENODEV if delete else 0}:
                    raise OSError(code, f"{os.strerror(code)}: {entry.kind} {describe(entry)}")
                return

    def _dump(self, kind: str, *families: int) -> Iterator[Entry]:
        for family in families or _FAMILIES:
            self._send(_NEW[kind] + _GET, _DUMP, struct.pack("=B", family) + bytes(HEADER_BYTES[kind] - 1))
            for got, data in self._answers():
                if got == _DONE:
                    break
                if got == _ERROR:
                    code = -struct.unpack_from("=i", data)[0]
                    if code in {errno.EAFNOSUPPORT, errno.EOPNOTSUPP}:  # no IPv6 in this kernel
                        break
                    raise OSError(code, os.strerror(code))
                if got == _NEW[kind] and data[0] == family:
                    yield parse(kind, data)

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        self._socket.send(struct.pack("=IHHII", 16 + len(body), kind, _REQUEST | flags, self._sequence, 0) + body)

    def _answers(self) -> Iterator[tuple[int, bytes]]:
        while True:
            data = self._socket.recv(_BIGGEST)
            while len(data) >= 16:
                length, kind, _, sequence, _ = struct.unpack_from("=IHHII", data)
                if sequence == self._sequence:
                    yield kind, data[16:length]
                data = data[(length + 3) & ~3 :]

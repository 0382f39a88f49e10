"""The kernel's addresses, routes and neighbours by netlink: read, put, taken away."""

import errno
import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator

from virtnet.node.providers import advertised
from virtnet.node.providers.objects import (
    ADDRESS,
    HEADER_BYTES,
    NEIGHBOUR,
    NUD_KNOWN,
    ROUTE,
    NetlinkObject,
    describe,
    local_address,
    merged,
    neighbour,
    neutral,
    parse,
)
from virtnet.node.route_socket import ACK, DONE, ERROR, RouteSocket

_NEW = {ADDRESS: 20, ROUTE: 24, NEIGHBOUR: 28}
_DELETE, _GET = 1, 2
_REPLACE, _EXCL, _CREATE, _APPEND, _DUMP = 0x100, 0x200, 0x400, 0x800, 0x300
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_NUD_PROBE = 0x10
_IFA_ADDRESS = 1
SERVED_SECONDS = 1.0


class Rtnetlink(RouteSocket):
    """In the network namespace of the calling thread."""

    def read(self, index: int, name: str) -> list[NetlinkObject]:
        """Return what an interface has, in the order in which it can be put elsewhere."""
        reported = (item for kind in (ADDRESS, ROUTE, NEIGHBOUR) for item in self._dump(kind))
        found = [each for item in reported for each in neutral(item, index, name)]
        return merged(advertised.marked(found, name))

    def add(self, item: NetlinkObject, index: int) -> None:
        """Put an object onto an interface; what is there already stays as it is. Raises OSError.

        An IPv6 address is usable at once: it is the node's own already, only elsewhere.
        """
        if item.advertised and advertised.taken(index):
            advertised.add(item, index)
            return
        extra = _APPEND if item.kind == ROUTE else _EXCL
        self._change(item.without_dad, index, _CREATE | extra, fine=errno.EEXIST)
        if item.without_dad != item:
            self._change(item, index, _REPLACE)  # its flags as they were, without another look for duplicates

    def wait_until_served(self, objects: Iterable[NetlinkObject], index: int) -> None:
        """Wait until an interface takes frames for these IPv6 addresses: the kernel adds their local routes later, in a
        work queue. Those that it has not added by then are left to it.
        """
        wanted = {item.attributes[_IFA_ADDRESS] for item in objects if item.family == socket.AF_INET6}
        end = time.monotonic() + SERVED_SECONDS
        while wanted and time.monotonic() < end:
            wanted -= {local_address(reported, index) for reported in self._dump(ROUTE, socket.AF_INET6)}
            if wanted:
                time.sleep(0.001)

    def delete(self, item: NetlinkObject, index: int) -> None:
        """Delete an object of an interface; what is gone already is fine. Raises OSError."""
        fine = {ADDRESS: errno.EADDRNOTAVAIL, ROUTE: errno.ESRCH, NEIGHBOUR: errno.ENOENT}[item.kind]
        self._change(item, index, 0, fine=fine, delete=True)

    def ask(self, address: str, index: int) -> None:
        """Have the kernel look for a neighbour anew, by ARP or ND. Raises OSError."""
        self.delete(neighbour(address), index)
        self._change(neighbour(address, looked_up=True), index, _CREATE)

    def answered(self, address: str, index: int) -> bool:
        """Return whether the neighbour that ``ask`` was about has answered."""
        about = neighbour(address)
        return any(
            item.key == about.key and item.index == index and item.state & (NUD_KNOWN | _NUD_PROBE)
            for item in self._dump(NEIGHBOUR)
        )

    def _change(self, item: NetlinkObject, index: int, flags: int, *, fine: int = 0, delete: bool = False) -> None:
        body = item.body_to_delete(index) if delete else item.body(index)
        self.send(_NEW[item.kind] + (_DELETE if delete else 0), ACK | flags, body)
        for kind, data in self.answers():
            if kind == ERROR:
                code = -struct.unpack_from("=i", data)[0]
                if code not in {0, fine, errno.ENODEV if delete else 0}:
                    raise OSError(code, f"{os.strerror(code)}: {item.kind} {describe(item)}")
                return

    def _dump(self, kind: str, *families: int) -> Iterator[NetlinkObject]:
        for family in families or _FAMILIES:
            self.send(_NEW[kind] + _GET, _DUMP, struct.pack("=B", family) + bytes(HEADER_BYTES[kind] - 1))
            for got, data in self.answers():
                if got == DONE:
                    break
                if got == ERROR:
                    code = -struct.unpack_from("=i", data)[0]
                    if code in {errno.EAFNOSUPPORT, errno.EOPNOTSUPP}:  # no IPv6 in this kernel
                        break
                    raise OSError(code, os.strerror(code))
                if got == _NEW[kind] and data[0] == family:
                    yield parse(kind, data)

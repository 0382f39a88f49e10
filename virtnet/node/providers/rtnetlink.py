"""Addresses, routes and neighbours as the kernel's own messages (rtnetlink(7)), so that nothing of them is lost.

What is read is made neutral: without index and name of its interface, and without what the kernel counts. So the same
entry reads the same on NIC and bridge, can be stored, and can be put onto any interface.
"""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

ADDRESS, ROUTE, NEIGHBOUR = "address", "route", "neighbour"

Attributes = Mapping[int, bytes]

_NEW = {ADDRESS: 20, ROUTE: 24, NEIGHBOUR: 28}
_DELETE, _GET = 1, 2
_HEADER = {ADDRESS: 8, ROUTE: 12, NEIGHBOUR: 12}
_REQUEST, _ACK, _REPLACE, _EXCL, _CREATE, _APPEND, _DUMP = 0x1, 0x4, 0x100, 0x200, 0x400, 0x800, 0x300
_DONE, _ERROR = 3, 2
_STRICT, _SOL_NETLINK = 12, 270
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_BIGGEST = 1 << 20
ANSWER_SECONDS = 5

_IFA_LABEL, _IFA_CACHEINFO, _IFA_FLAGS = 3, 6, 8
_IFA_NODAD = 0x02
_IFA_STATES = 0x01 | 0x04 | 0x08 | 0x20 | 0x40 | 0x80 | 0x800  # the kernel's own: secondary, tentative, permanent, ..

_RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_METRICS, _RTA_MULTIPATH = 4, 5, 6, 8, 9
_RTA_CACHEINFO, _RTA_TABLE, _RTA_VIA, _RTA_EXPIRES = 12, 15, 18, 23
_RTA_DST = 1
_MAIN_TABLE, _LOCAL_TABLE = 254, 255
_CLONED = 0x200
_ONLINK = 4
_AUTOMATIC_TYPES = frozenset({2, 3, 4, 5})  # local, broadcast, anycast, multicast: they come with an address
_HZ = 100

_NDA_DST, _NDA_LLADDR = 1, 2
_NUD_STATIC, _NUD_STALE, _NUD_ALIVE = 0x80, 0x04, 0x02 | 0x04 | 0x08
_NTF_USE = 0x01


@dataclass(frozen=True)
class Entry:
    """One address, route or neighbour of an interface."""

    kind: str
    header: bytes = field(repr=False)
    attributes: Attributes = field(repr=False, hash=False)

    @property
    def text(self) -> str:
        """For storing; ``of_text`` reads it."""
        return f"{self.kind} {self.header.hex()} {_packed(self.attributes).hex()}"

    @classmethod
    def of_text(cls, text: str) -> Self:
        kind, header, *attributes = text.split(" ")
        return cls(kind, bytes.fromhex(header), dict(_attributes(bytes.fromhex(attributes[0]))))

    @property
    def key(self) -> tuple[object, ...]:
        """What makes it the same entry, whatever its lifetime, metrics or state."""
        a = self.attributes
        match self.kind:
            case "address":
                return self.kind, self.header[:2], a.get(1), a.get(2)
            case "neighbour":
                return self.kind, self.header[0], a.get(_NDA_DST)
        hop = (a.get(_RTA_GATEWAY), a.get(_RTA_VIA), a.get(_RTA_MULTIPATH))
        return self.kind, self.header[:4], self.table, a.get(_RTA_DST), a.get(_RTA_PRIORITY), hop

    @property
    def family(self) -> int:
        return self.header[0]

    @property
    def table(self) -> int:
        """Of a route."""
        found = self.attributes.get(_RTA_TABLE)
        return int.from_bytes(found, "little") if found else self.header[4]

    @property
    def needs_others(self) -> bool:
        """Whether a route goes over a gateway, which other routes must make reachable first."""
        return bool(self.attributes.keys() & {_RTA_GATEWAY, _RTA_VIA, _RTA_MULTIPATH})

    @property
    def default_gateways(self) -> tuple[str, ...]:
        """Of a route in the main table that is a default route; addresses as text."""
        gateway = self.attributes.get(_RTA_GATEWAY)
        is_default = self.kind == ROUTE and self.header[1] == 0 and self.table == _MAIN_TABLE
        return (socket.inet_ntop(self.family, gateway),) if is_default and gateway else ()

    @property
    def static(self) -> bool:
        """Whether a neighbour was put there by a person."""
        return bool(self._state & _NUD_STATIC)

    @property
    def _state(self) -> int:
        return int(struct.unpack_from("=H", self.header, 8)[0])


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
        addresses = [_neutral_address(entry, name) for entry in self._dump(ADDRESS) if _index(entry) == index]
        routes = [neutral for entry in self._dump(ROUTE) if (neutral := _neutral_route(entry, index)) is not None]
        alive = _NUD_STATIC | _NUD_ALIVE
        neighbours = [
            _neutral_neighbour(entry)
            for entry in self._dump(NEIGHBOUR)
            if _index(entry) == index and entry._state & alive and _NDA_LLADDR in entry.attributes  # noqa: SLF001
        ]
        return [*addresses, *sorted(routes, key=_turn), *neighbours]

    def add(self, entry: Entry, index: int) -> None:
        """Put it onto an interface; what is there already stays as it is. Raises OSError.

        An IPv6 address is usable at once: it is the node's own already, only elsewhere.
        """
        if entry.kind == ADDRESS:
            undoubted = _with_flags(entry, _IFA_NODAD) if entry.family == socket.AF_INET6 else entry
            self._change(undoubted, index, _CREATE | _EXCL, fine=errno.EEXIST)
            if undoubted != entry:
                self._change(entry, index, _REPLACE)  # its flags as they were, without another look for duplicates
        else:
            extra = _APPEND if entry.kind == ROUTE else _EXCL
            self._change(entry, index, _CREATE | extra, fine=errno.EEXIST)

    def delete(self, entry: Entry, index: int) -> None:
        """Take it from an interface; what is gone already is fine. Raises OSError."""
        fine = {ADDRESS: errno.EADDRNOTAVAIL, ROUTE: errno.ESRCH, NEIGHBOUR: errno.ENOENT}[entry.kind]
        wanted = {key: value for key, value in entry.attributes.items() if key != _RTA_METRICS or entry.kind != ROUTE}
        self._change(Entry(entry.kind, entry.header, wanted), index, 0, fine=fine, delete=True)

    def ask(self, address: str, index: int) -> None:
        """Have the kernel look for a neighbour anew, by ARP or ND. Raises OSError."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        target = {_NDA_DST: socket.inet_pton(family, address)}
        gone = Entry(NEIGHBOUR, struct.pack("=BxxxiHBB", family, 0, 0, 0, 0), target)
        self.delete(gone, index)
        used = Entry(NEIGHBOUR, struct.pack("=BxxxiHBB", family, 0, 0, _NTF_USE, 0), target)
        self._change(used, index, _CREATE)

    def answered(self, address: str, index: int) -> bool:
        """Whether the neighbour that ``ask`` was about has said where it is."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        packed = socket.inet_pton(family, address)
        return any(
            _index(entry) == index and entry.attributes.get(_NDA_DST) == packed and entry._state & (_NUD_ALIVE | 0x10)  # noqa: SLF001
            for entry in self._dump(NEIGHBOUR)
        )

    def _change(self, entry: Entry, index: int, flags: int, *, fine: int = 0, delete: bool = False) -> None:
        body = _placed(entry, index)
        self._send(_NEW[entry.kind] + (_DELETE if delete else 0), _ACK | flags, body)
        for kind, data in self._answers():
            if kind == _ERROR:
                code = -struct.unpack_from("=i", data)[0]
                if code not in {0, fine, errno.ENODEV if delete else 0}:
                    raise OSError(code, f"{os.strerror(code)}: {entry.kind} {describe(entry)}")
                return

    def _dump(self, kind: str) -> Iterator[Entry]:
        for family in _FAMILIES:
            self._send(_NEW[kind] + _GET, _DUMP, struct.pack("=B", family) + bytes(_HEADER[kind] - 1))
            for got, data in self._answers():
                if got == _DONE:
                    break
                if got == _ERROR:
                    code = -struct.unpack_from("=i", data)[0]
                    if code in {errno.EAFNOSUPPORT, errno.EOPNOTSUPP}:  # no IPv6 in this kernel
                        break
                    raise OSError(code, os.strerror(code))
                size = _HEADER[kind]
                if got == _NEW[kind] and data[0] == family:
                    yield Entry(kind, data[:size], dict(_attributes(data[size:])))

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


def describe(entry: Entry) -> str:
    """For people."""
    size = entry.header[1]
    packed = entry.attributes.get(_RTA_DST if entry.kind == ROUTE else 1)
    if not packed:
        return f"default in table {entry.table}"
    address = socket.inet_ntop(entry.family, packed)
    return address if entry.kind == NEIGHBOUR else f"{address}/{size}"


def _neutral_address(entry: Entry, name: str) -> Entry:
    attributes = dict(entry.attributes)
    if attributes.get(_IFA_LABEL) == f"{name}\0".encode():
        del attributes[_IFA_LABEL]
    if _IFA_CACHEINFO in attributes:
        attributes[_IFA_CACHEINFO] = attributes[_IFA_CACHEINFO][:8] + bytes(8)
    flags = int.from_bytes(attributes.get(_IFA_FLAGS, bytes(4)), "little") & ~_IFA_STATES
    neutral = Entry(ADDRESS, struct.pack("=BBBBI", *entry.header[:2], 0, entry.header[3], 0), attributes)
    return _with_flags(neutral, flags, only=True)


def _with_flags(entry: Entry, flags: int, *, only: bool = False) -> Entry:
    before = 0 if only else int.from_bytes(entry.attributes.get(_IFA_FLAGS, bytes(4)), "little")
    return Entry(entry.kind, entry.header, {**entry.attributes, _IFA_FLAGS: struct.pack("=I", before | flags)})


def _neutral_route(entry: Entry, index: int) -> Entry | None:
    """None for one that does not use the interface, or that comes and goes with an address."""
    attributes = dict(entry.attributes)
    flags = struct.unpack_from("=I", entry.header, 8)[0]
    uses = attributes.pop(_RTA_OIF, b"") == struct.pack("=i", index)
    if _RTA_MULTIPATH in attributes:
        attributes[_RTA_MULTIPATH], uses = _hops(attributes[_RTA_MULTIPATH], index, 0)
    if not uses or entry.table == _LOCAL_TABLE or entry.header[7] in _AUTOMATIC_TYPES or flags & _CLONED:
        return None
    cache = attributes.pop(_RTA_CACHEINFO, b"")
    expires = struct.unpack_from("=i", cache, 8)[0] if len(cache) >= 12 else 0
    if expires > 0:
        attributes[_RTA_EXPIRES] = struct.pack("=I", max(1, expires // _HZ))
    return Entry(ROUTE, entry.header[:8] + struct.pack("=I", flags & _ONLINK), attributes)


def _hops(data: bytes, before: int, after: int) -> tuple[bytes, bool]:
    """The next hops of a multipath route, with an interface in place of another; whether there was any."""
    changed, found = b"", False
    while len(data) >= 8:
        length, flags, weight, index = struct.unpack_from("=HBBi", data)
        length = max(8, length)
        found = found or index == before
        new = after if index == before else index
        changed += struct.pack("=HBBi", length, flags & _ONLINK, weight, new) + data[8:length]
        changed += bytes(-length % 4)
        data = data[(length + 3) & ~3 :]
    return changed, found


def _neutral_neighbour(entry: Entry) -> Entry:
    state = _NUD_STATIC if entry.static else _NUD_STALE
    header = struct.pack("=BxxxiHBB", entry.family, 0, state, entry.header[10] & ~_NTF_USE, entry.header[11])
    return Entry(NEIGHBOUR, header, {key: entry.attributes[key] for key in (_NDA_DST, _NDA_LLADDR)})


def _placed(entry: Entry, index: int) -> bytes:
    """The message's body, for an interface."""
    header, attributes = entry.header, dict(entry.attributes)
    if entry.kind == ROUTE:
        if _RTA_MULTIPATH in attributes:
            attributes[_RTA_MULTIPATH], _ = _hops(attributes[_RTA_MULTIPATH], 0, index)
        else:
            attributes[_RTA_OIF] = struct.pack("=i", index)
    else:
        header = header[:4] + struct.pack("=i", index) + header[8:]
    return header + _packed(attributes)


def _index(entry: Entry) -> int:
    """Of an address or neighbour."""
    return int(struct.unpack_from("=i", entry.header, 4)[0])


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        yield kind & 0x3FFF, data[4 : max(4, length)]
        data = data[(max(4, length) + 3) & ~3 :]


def _packed(attributes: Attributes) -> bytes:
    return b"".join(
        struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
        for kind, value in sorted(attributes.items())
    )


def merged(*several: Sequence[Entry]) -> list[Entry]:
    """All entries of several interfaces, each once; the earlier ones win."""
    found: dict[tuple[object, ...], Entry] = {}
    for entries in several:
        for entry in entries:
            found.setdefault(entry.key, entry)
    return sorted(found.values(), key=_turn)


def _turn(entry: Entry) -> tuple[int, bool]:
    return (ADDRESS, ROUTE, NEIGHBOUR).index(entry.kind), entry.kind == ROUTE and entry.needs_others

"""Addresses, routes and neighbours as the kernel's own messages (rtnetlink(7)), so that nothing of them is lost.

An entry is neutral: without index and name of its interface, and without what the kernel counts. So the same entry
reads the same on NIC and bridge, can be stored, and can be put onto any interface. Nothing here talks to the kernel.
"""

import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

ADDRESS, ROUTE, NEIGHBOUR = "address", "route", "neighbour"
HEADER_BYTES = {ADDRESS: 8, ROUTE: 12, NEIGHBOUR: 12}

Attributes = Mapping[int, bytes]

_IFA_LABEL, _IFA_CACHEINFO, _IFA_FLAGS = 3, 6, 8
_IFA_NODAD = 0x02
_IFA_STATES = 0x01 | 0x04 | 0x08 | 0x20 | 0x40 | 0x80 | 0x800  # the kernel's own: secondary, tentative, permanent, ..

_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_METRICS, _RTA_MULTIPATH = 1, 4, 5, 6, 8, 9
_RTA_CACHEINFO, _RTA_TABLE, _RTA_VIA, _RTA_EXPIRES = 12, 15, 18, 23
_MAIN_TABLE, _LOCAL_TABLE = 254, 255
_CLONED = 0x200
_ONLINK = 4
_AUTOMATIC_TYPES = frozenset({2, 3, 4, 5})  # local, broadcast, anycast, multicast: they come with an address
_HZ = 100

NDA_DST, _NDA_LLADDR = 1, 2
_NUD_STATIC, _NUD_STALE = 0x80, 0x04
NUD_KNOWN = 0x02 | 0x04 | 0x08
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
                return self.kind, self.header[0], a.get(NDA_DST)
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
        return bool(self.state & _NUD_STATIC)

    @property
    def state(self) -> int:
        """Of a neighbour, as the kernel has it (NUD_*)."""
        return int(struct.unpack_from("=H", self.header, 8)[0])

    @property
    def index(self) -> int:
        """The interface of an address or neighbour that the kernel has told of; 0 for a neutral one."""
        return int(struct.unpack_from("=i", self.header, 4)[0])

    @property
    def undoubted(self) -> "Entry":
        """An IPv6 address that is usable at once, without a look for duplicates; others as they are."""
        doubted = self.kind == ADDRESS and self.family == socket.AF_INET6
        return _with_flags(self, _IFA_NODAD) if doubted else self

    def body(self, index: int) -> bytes:
        """The message that puts it onto an interface."""
        header, attributes = self.header, dict(self.attributes)
        if self.kind == ROUTE:
            if _RTA_MULTIPATH in attributes:
                attributes[_RTA_MULTIPATH], _ = _hops(attributes[_RTA_MULTIPATH], 0, index)
            else:
                attributes[_RTA_OIF] = struct.pack("=i", index)
        else:
            header = header[:4] + struct.pack("=i", index) + header[8:]
        return header + _packed(attributes)

    def body_to_delete(self, index: int) -> bytes:
        """The message that takes it away, without metrics: the kernel compares them otherwise than it tells them."""
        attributes = {key: value for key, value in self.attributes.items() if key != _RTA_METRICS or self.kind != ROUTE}
        return Entry(self.kind, self.header, attributes).body(index)


def parse(kind: str, data: bytes) -> Entry:
    """What the kernel tells, of whichever interface."""
    size = HEADER_BYTES[kind]
    return Entry(kind, data[:size], dict(_attributes(data[size:])))


def neutral(told: Entry, index: int, name: str) -> Entry | None:
    """An entry of this interface; None for one of another, and for what comes and goes by itself."""
    if told.kind == ROUTE:
        return _neutral_route(told, index)
    if told.index != index:
        return None
    return _neutral_address(told, name) if told.kind == ADDRESS else _neutral_neighbour(told)


def local_address(told: Entry, index: int) -> bytes | None:
    """The address, packed, whose frames the node takes by a route of an interface; None for any other route."""
    here = told.attributes.get(_RTA_OIF) == struct.pack("=i", index)
    return told.attributes.get(_RTA_DST) if here and told.table == _LOCAL_TABLE else None


def neighbour(address: str, *, looked_up: bool = False) -> Entry:
    """One that nothing is known of; ``looked_up``: the kernel is to find it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    header = struct.pack("=BxxxiHBB", family, 0, 0, _NTF_USE if looked_up else 0, 0)
    return Entry(NEIGHBOUR, header, {NDA_DST: socket.inet_pton(family, address)})


def merged(*several: Sequence[Entry]) -> list[Entry]:
    """All entries of several interfaces, each once, in the order in which they can be put; the earlier ones win."""
    found: dict[tuple[object, ...], Entry] = {}
    for entries in several:
        for entry in entries:
            found.setdefault(entry.key, entry)
    return sorted(found.values(), key=_turn)


def default_gateways(entries: Sequence[Entry]) -> list[str]:
    return sorted({gateway for entry in entries for gateway in entry.default_gateways})


def texts(entries: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(entry.text for entry in entries)


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


def _neutral_neighbour(entry: Entry) -> Entry | None:
    """None for one that nobody has found."""
    if not entry.state & (_NUD_STATIC | NUD_KNOWN) or _NDA_LLADDR not in entry.attributes:
        return None
    state = _NUD_STATIC if entry.static else _NUD_STALE
    header = struct.pack("=BxxxiHBB", entry.family, 0, state, entry.header[10] & ~_NTF_USE, entry.header[11])
    return Entry(NEIGHBOUR, header, {key: entry.attributes[key] for key in (NDA_DST, _NDA_LLADDR)})


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


def _turn(entry: Entry) -> tuple[int, bool]:
    """Neighbours are known before a route leads to them, and for as long as one does: no frame waits for an answer."""
    return (ADDRESS, NEIGHBOUR, ROUTE).index(entry.kind), entry.kind == ROUTE and entry.needs_others

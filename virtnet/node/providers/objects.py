"""Addresses, routes and neighbours as the kernel's own messages (rtnetlink(7)), so that nothing of them is lost.

An object is neutral: without index and name of its interface, and without what the kernel counts. So the same one
reads the same on NIC and bridge, can be stored, and can be put onto any interface. Nothing here talks to the kernel.
"""

import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from virtnet.node.rtattr import (
    ONLINK,
    RTA_GATEWAY,
    RTA_VIA,
    Attributes,
    attributes_of,
    gateway_of,
    hops,
    packed,
    with_index,
)

ADDRESS, ROUTE, NEIGHBOUR = "address", "route", "neighbour"
HEADER_BYTES = {ADDRESS: 8, ROUTE: 12, NEIGHBOUR: 12}

_IFA_ADDRESS, _IFA_LABEL, _IFA_CACHEINFO, _IFA_FLAGS = 1, 3, 6, 8
_IFA_NODAD = 0x02
_IFA_STATES = 0x01 | 0x04 | 0x08 | 0x20 | 0x40 | 0x80  # the kernel's own: secondary, tentative, permanent, ..
_IFA_STABLE_PRIVACY = 0x800

RTA_DST, _RTA_OIF, RTA_PRIORITY, _RTA_METRICS, _RTA_MULTIPATH = 1, 4, 6, 8, 9
_RTA_CACHEINFO, _RTA_TABLE, RTA_PREF, RTA_EXPIRES = 12, 15, 20, 23
_PROTOCOL, _BY_ADVERTISEMENT = 5, 9  # byte of a route's header; RTPROT_RA
_MAIN_TABLE, _LOCAL_TABLE = 254, 255
_CLONED = 0x200
_AUTOMATIC_TYPES = frozenset({2, 3, 4, 5})  # local, broadcast, anycast, multicast: they come with an address
_HZ = 100

NDA_DST, _NDA_LLADDR = 1, 2
_NUD_STATIC, _NUD_STALE = 0x80, 0x04
NUD_KNOWN = 0x02 | 0x04 | 0x08
_NTF_USE = 0x01


@dataclass(frozen=True)
class NetlinkObject:
    """One address, route or neighbour of an interface."""

    kind: str
    header: bytes = field(repr=False)
    attributes: Attributes = field(repr=False, hash=False)

    @property
    def text(self) -> str:
        """The object as it is stored; ``of_text`` reads it."""
        return f"{self.kind} {self.header.hex()} {packed(self.attributes).hex()}"

    @classmethod
    def of_text(cls, text: str) -> Self:
        kind, header, *attributes = text.split(" ")
        return cls(kind, bytes.fromhex(header), dict(attributes_of(bytes.fromhex(attributes[0]))))

    @property
    def key(self) -> tuple[object, ...]:
        """What makes it the same object, whatever its lifetime, metrics or state."""
        a = self.attributes
        match self.kind:
            case "address":
                return self.kind, self.header[:2], a.get(1), a.get(2)
            case "neighbour":
                return self.kind, self.header[0], a.get(NDA_DST)
        return self.kind, self.header[:4], self.table, a.get(RTA_DST), a.get(RTA_PRIORITY), self._next_hops

    @property
    def family(self) -> int:
        return self.header[0]

    @property
    def table(self) -> int:
        """The table of a route."""
        found = self.attributes.get(_RTA_TABLE)
        return int.from_bytes(found, "little") if found else self.header[4]

    @property
    def needs_others(self) -> bool:
        """Whether a route goes over a gateway, which other routes must make reachable first."""
        return bool(self.attributes.keys() & {RTA_GATEWAY, RTA_VIA, _RTA_MULTIPATH})

    @property
    def default_gateways(self) -> tuple[str, ...]:
        """The gateways of a default route in the main table, as text, as far as the interface leads to them."""
        if self.kind != ROUTE or self.header[1] or self.table != _MAIN_TABLE:
            return ()
        return tuple(gateway for index, gateway in self._next_hops if gateway and not index)

    @property
    def _next_hops(self) -> tuple[tuple[int, str], ...]:
        """The index of each next hop's interface, and its gateway as text; 0 for the route's own interface."""
        if _RTA_MULTIPATH in self.attributes:
            return tuple((hop.index, gateway_of(hop.attributes)) for hop in hops(self.attributes[_RTA_MULTIPATH]))
        return ((0, gateway_of(self.attributes)),)

    @property
    def advertised(self) -> bool:
        """Whether it is a route that the kernel has from a router advertisement (RTPROT_RA)."""
        return self.kind == ROUTE and self.header[_PROTOCOL] == _BY_ADVERTISEMENT

    @property
    def as_advertised(self) -> "NetlinkObject":
        """This route, marked as one that the kernel has from a router advertisement."""
        header = self.header[:_PROTOCOL] + bytes([_BY_ADVERTISEMENT]) + self.header[_PROTOCOL + 1 :]
        return NetlinkObject(self.kind, header, self.attributes)

    @property
    def stable_token(self) -> str:
        """The interface identifier of an address that the kernel has made by RFC 7217, as a token; empty for others."""
        flags = int.from_bytes(self.attributes.get(_IFA_FLAGS, bytes(4)), "little")
        if self.kind != ADDRESS or self.header[3] or not flags & _IFA_STABLE_PRIVACY:  # of global scope
            return ""
        return socket.inet_ntop(socket.AF_INET6, bytes(8) + self.attributes[_IFA_ADDRESS][8:])

    @property
    def static(self) -> bool:
        """Whether a neighbour was configured (NUD_PERMANENT), not found."""
        return bool(self.state & _NUD_STATIC)

    @property
    def state(self) -> int:
        """The state of a neighbour (NUD_*)."""
        return int(struct.unpack_from("=H", self.header, 8)[0])

    @property
    def index(self) -> int:
        """The interface of an address or neighbour that the kernel has reported; 0 for a neutral one."""
        return int(struct.unpack_from("=i", self.header, 4)[0])

    @property
    def without_dad(self) -> "NetlinkObject":
        """The object, with duplicate address detection off where it is an IPv6 address."""
        has_dad = self.kind == ADDRESS and self.family == socket.AF_INET6
        return _with_flags(self, _IFA_NODAD) if has_dad else self

    def body(self, index: int) -> bytes:
        """Return the message that puts it onto an interface."""
        header, attributes = self.header, dict(self.attributes)
        if self.kind == ROUTE:
            if _RTA_MULTIPATH in attributes:
                attributes[_RTA_MULTIPATH] = with_index(attributes[_RTA_MULTIPATH], 0, index)
            else:
                attributes[_RTA_OIF] = struct.pack("=i", index)
        else:
            header = header[:4] + struct.pack("=i", index) + header[8:]
        return header + packed(attributes)

    def body_to_delete(self, index: int) -> bytes:
        """Return the message that deletes it, without metrics, which the kernel compares otherwise than it reports
        them, and without the protocol of an advertised route, which is another one where we have put it.
        """
        attributes = {key: value for key, value in self.attributes.items() if key != _RTA_METRICS or self.kind != ROUTE}
        header = self.header
        if self.advertised:
            header = header[:_PROTOCOL] + bytes(1) + header[_PROTOCOL + 1 :]
        return NetlinkObject(self.kind, header, attributes).body(index)


def parse(kind: str, data: bytes) -> NetlinkObject:
    """Read a message of the kernel, of whichever interface."""
    size = HEADER_BYTES[kind]
    return NetlinkObject(kind, data[:size], dict(attributes_of(data[size:])))


def neutral(reported: NetlinkObject, index: int, name: str) -> Iterator[NetlinkObject]:
    """Yield what is this interface's of an object, without what comes and goes by itself: nothing for one of another
    interface, and each of its next hops for an IPv6 multipath route, as which the kernel has them.
    """
    if reported.kind == ROUTE:
        yield from _neutral_routes(reported, index)
    elif reported.index == index:
        found = _neutral_address(reported, name) if reported.kind == ADDRESS else _neutral_neighbour(reported)
        if found is not None:
            yield found


def local_address(reported: NetlinkObject, index: int) -> bytes | None:
    """Return the address, packed, whose frames a local route of an interface takes; None for any other route."""
    here = reported.attributes.get(_RTA_OIF) == struct.pack("=i", index)
    return reported.attributes.get(RTA_DST) if here and reported.table == _LOCAL_TABLE else None


def neighbour(address: str, *, looked_up: bool = False) -> NetlinkObject:
    """Return a neighbour without a MAC address; ``looked_up``: the kernel is to find it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    header = struct.pack("=BxxxiHBB", family, 0, 0, _NTF_USE if looked_up else 0, 0)
    return NetlinkObject(NEIGHBOUR, header, {NDA_DST: socket.inet_pton(family, address)})


def merged(*several: Sequence[NetlinkObject]) -> list[NetlinkObject]:
    """Return the objects of several interfaces, each once, in the order in which they can be put; earlier ones win."""
    found: dict[tuple[object, ...], NetlinkObject] = {}
    for group in several:
        for item in group:
            found.setdefault(item.key, item)
    return sorted(found.values(), key=_order)


def default_gateways(objects: Sequence[NetlinkObject]) -> list[str]:
    return sorted({gateway for item in objects for gateway in item.default_gateways})


def texts(objects: Sequence[NetlinkObject]) -> tuple[str, ...]:
    return tuple(item.text for item in objects)


def describe(item: NetlinkObject) -> str:
    """Return text for people."""
    size = item.header[1]
    packed = item.attributes.get(RTA_DST if item.kind == ROUTE else 1)
    if not packed:
        return f"default in table {item.table}"
    address = socket.inet_ntop(item.family, packed)
    return address if item.kind == NEIGHBOUR else f"{address}/{size}"


def _neutral_address(item: NetlinkObject, name: str) -> NetlinkObject:
    attributes = dict(item.attributes)
    if attributes.get(_IFA_LABEL) == f"{name}\0".encode():
        del attributes[_IFA_LABEL]
    if _IFA_CACHEINFO in attributes:
        attributes[_IFA_CACHEINFO] = attributes[_IFA_CACHEINFO][:8] + bytes(8)
    flags = int.from_bytes(attributes.get(_IFA_FLAGS, bytes(4)), "little") & ~_IFA_STATES
    neutral = NetlinkObject(ADDRESS, struct.pack("=BBBBI", *item.header[:2], 0, item.header[3], 0), attributes)
    return _with_flags(neutral, flags, only=True)


def _with_flags(item: NetlinkObject, flags: int, *, only: bool = False) -> NetlinkObject:
    before = 0 if only else int.from_bytes(item.attributes.get(_IFA_FLAGS, bytes(4)), "little")
    return NetlinkObject(item.kind, item.header, {**item.attributes, _IFA_FLAGS: struct.pack("=I", before | flags)})


def _neutral_routes(item: NetlinkObject, index: int) -> Iterator[NetlinkObject]:
    """Yield none for a route that does not use the interface, or that comes and goes with an address."""
    attributes = dict(item.attributes)
    flags = struct.unpack_from("=I", item.header, 8)[0]
    if item.table == _LOCAL_TABLE or item.header[7] in _AUTOMATIC_TYPES or flags & _CLONED:
        return
    uses = attributes.pop(_RTA_OIF, b"") == struct.pack("=i", index)
    multipath = attributes.get(_RTA_MULTIPATH, b"")
    if not uses and index not in {hop.index for hop in hops(multipath)}:
        return
    cache = attributes.pop(_RTA_CACHEINFO, b"")
    expires = struct.unpack_from("=i", cache, 8)[0] if len(cache) >= 12 else 0
    if expires > 0:
        attributes[RTA_EXPIRES] = struct.pack("=I", max(1, expires // _HZ))
    header = item.header[:8] + struct.pack("=I", flags & ONLINK)
    if multipath and item.family == socket.AF_INET6:
        del attributes[_RTA_MULTIPATH]
        for hop in hops(multipath):
            if hop.index == index:
                weighted = {_RTA_MULTIPATH: hop.packed(0)} if hop.weight else hop.attributes
                yield NetlinkObject(ROUTE, header, {**attributes, **weighted})
        return
    if multipath:
        attributes[_RTA_MULTIPATH] = with_index(multipath, index, 0)
    yield NetlinkObject(ROUTE, header, attributes)


def _neutral_neighbour(item: NetlinkObject) -> NetlinkObject | None:
    """None for one that nobody has found."""
    if not item.state & (_NUD_STATIC | NUD_KNOWN) or _NDA_LLADDR not in item.attributes:
        return None
    state = _NUD_STATIC if item.static else _NUD_STALE
    header = struct.pack("=BxxxiHBB", item.family, 0, state, item.header[10] & ~_NTF_USE, item.header[11])
    return NetlinkObject(NEIGHBOUR, header, {key: item.attributes[key] for key in (NDA_DST, _NDA_LLADDR)})


def _order(item: NetlinkObject) -> tuple[int, bool]:
    """Neighbours are known before a route leads to them, and for as long as one does: no frame waits for an answer."""
    return (ADDRESS, NEIGHBOUR, ROUTE).index(item.kind), item.kind == ROUTE and item.needs_others

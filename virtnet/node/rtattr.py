"""Attributes of rtnetlink's messages (struct rtattr), and the next hops of multipath routes among them. Pure."""

import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Attributes = Mapping[int, bytes]

RTA_GATEWAY, RTA_VIA = 5, 18
ONLINK = 4
"""The one flag of a next hop that is not the kernel's own."""


def attributes_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        yield kind & 0x3FFF, data[4 : max(4, length)]
        data = data[(max(4, length) + 3) & ~3 :]


def packed(attributes: Attributes) -> bytes:
    return b"".join(
        struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
        for kind, value in sorted(attributes.items())
    )


@dataclass(frozen=True)
class Hop:
    """One next hop of a multipath route (struct rtnexthop)."""

    flags: int
    weight: int
    index: int
    attributes: Attributes

    def packed(self, index: int) -> bytes:
        attributes = packed(self.attributes)
        return struct.pack("=HBBi", 8 + len(attributes), self.flags & ONLINK, self.weight, index) + attributes


def hops(data: bytes) -> Iterator[Hop]:
    while len(data) >= 8:
        length, flags, weight, index = struct.unpack_from("=HBBi", data)
        length = max(8, length)
        yield Hop(flags, weight, index, dict(attributes_of(data[8:length])))
        data = data[(length + 3) & ~3 :]


def with_index(multipath: bytes, before: int, after: int) -> bytes:
    """The next hops of a multipath route, with one interface in place of another."""
    return b"".join(hop.packed(after if hop.index == before else hop.index) for hop in hops(multipath))


def gateway_of(attributes: Attributes) -> str:
    """The gateway of a route or next hop, as text; it may be of another family than the route (RFC 5549)."""
    if via := attributes.get(RTA_VIA):
        return socket.inet_ntop(struct.unpack_from("=H", via)[0], via[2:])
    gateway = attributes.get(RTA_GATEWAY)
    return socket.inet_ntop(socket.AF_INET if len(gateway) == 4 else socket.AF_INET6, gateway) if gateway else ""

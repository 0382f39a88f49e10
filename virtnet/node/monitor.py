"""What the kernel tells of links, addresses and routes (rtnetlink(7)): a nudge for who looks at them."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import structlog

from virtnet.node.netns import inside

log = structlog.get_logger()

_LINKS, _ADDRESSES, _ROUTES = (16, 17), (20, 21), (24, 25)
_GROUPS = (1, 5, 7, 9, 11)  # links, then addresses and routes of IPv4 and of IPv6
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_IFLA_IFNAME, _IFLA_LINK, _IFLA_LINK_NETNSID = 3, 5, 37
_RTA_OIF, _RTA_MULTIPATH = 4, 9
_RECEIVE_BUFFER = 1 << 20
_BIGGEST = 1 << 16

PAUSE_SECONDS = 1.0
"""Before the socket is made anew, whose buffer has overflowed: a storm may go on."""


@dataclass(frozen=True)
class LinkEvent:
    """A link came, changed or went."""

    name: str
    upper: bool
    """Whether it lives on another link of this namespace."""


@dataclass(frozen=True)
class AddressEvent:
    """An address came, changed or went."""

    index: int
    """Of its interface."""


@dataclass(frozen=True)
class RouteEvent:
    """A route came, changed or went."""

    index: int
    """Of its interface; 0: of several."""


@dataclass(frozen=True)
class Overrun:
    """Something that the kernel had to tell is lost: anything may have changed."""


Event = LinkEvent | AddressEvent | RouteEvent | Overrun


async def events(here: str) -> AsyncIterator[Event]:
    """What happens in a network namespace, given as a path, for ever. It begins with an Overrun."""
    while True:
        try:
            with await inside(here, lambda _: _subscribed()) as wire:
                yield Overrun()
                while True:
                    for event in parse(await asyncio.get_running_loop().sock_recv(wire, _BIGGEST)):
                        yield event
        except OSError as error:
            log.info("the kernel had more to tell than was read", error=str(error))
            await asyncio.sleep(PAUSE_SECONDS)


def parse(data: bytes) -> Iterator[Event]:
    """The messages of one datagram."""
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        body = data[16:length]
        if kind in _LINKS:
            found = _attributes(body[16:])
            name = found.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
            yield LinkEvent(name, upper=_IFLA_LINK in found and _IFLA_LINK_NETNSID not in found)
        elif kind in _ADDRESSES:
            yield AddressEvent(struct.unpack_from("=i", body, 4)[0])
        elif kind in _ROUTES:
            found = _attributes(body[12:])
            index = found.get(_RTA_OIF, bytes(4))
            yield RouteEvent(0 if _RTA_MULTIPATH in found else struct.unpack("=i", index)[0])
        data = data[max(16, (length + 3) & ~3) :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        found[kind & 0x3FFF] = data[4 : max(4, length)]
        data = data[(max(4, length) + 3) & ~3 :]
    return found


def _subscribed() -> socket.socket:
    """In the namespace of the calling thread. Raises OSError."""
    wire = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    try:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        wire.bind((0, 0))
        for group in _GROUPS:
            wire.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    except BaseException:
        wire.close()
        raise
    return wire

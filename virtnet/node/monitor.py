"""What the kernel tells of links, addresses and routes (rtnetlink(7)): a nudge for who looks at them."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass

import structlog
from pyroute2.netlink import rtnl
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from virtnet.node.netns import inside

log = structlog.get_logger()

_MARSHAL = MarshalRtnl()
_GROUPS = (
    rtnl.RTMGRP_LINK
    | rtnl.RTMGRP_IPV4_IFADDR
    | rtnl.RTMGRP_IPV6_IFADDR
    | rtnl.RTMGRP_IPV4_ROUTE
    | rtnl.RTMGRP_IPV6_ROUTE
)
_RECEIVE_BUFFER = 1 << 20
_BIGGEST = 1 << 16

PAUSE_SECONDS = 1.0
"""Before the socket is made anew, whose buffer has overflowed: a storm may go on."""


@dataclass(frozen=True)
class LinkEvent:
    """A link came, changed or went."""

    index: int
    name: str
    """By now: a link may be renamed."""
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


async def events(here: str) -> AsyncGenerator[Event]:
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
    for message in _MARSHAL.parse(data):
        match message["header"].get("type"):
            case rtnl.RTM_NEWLINK | rtnl.RTM_DELLINK:
                on_other = message.get_attr("IFLA_LINK") is not None
                here = message.get_attr("IFLA_LINK_NETNSID") is None
                yield LinkEvent(message["index"], str(message.get_attr("IFLA_IFNAME")), upper=on_other and here)
            case rtnl.RTM_NEWADDR | rtnl.RTM_DELADDR:
                yield AddressEvent(message["index"])
            case rtnl.RTM_NEWROUTE | rtnl.RTM_DELROUTE:
                several = message.get_attr("RTA_MULTIPATH") is not None
                yield RouteEvent(0 if several else message.get_attr("RTA_OIF") or 0)


def _subscribed() -> socket.socket:
    """In the namespace of the calling thread. Raises OSError."""
    wire = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    try:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        wire.bind((0, _GROUPS))
    except BaseException:
        wire.close()
        raise
    return wire

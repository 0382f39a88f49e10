"""Routes that the kernel has from router advertisements (RFC 4861), which it refreshes and withdraws by itself.

It does so only with those that it takes for its own (RTF_ADDRCONF). One that is put by rtnetlink is not: the next
advertisement finds it in the way, and then the kernel reads no prefix of that advertisement either, so that the node's
addresses end with their lifetimes. The older ioctl can mark a route so; /proc/net/ipv6_route says which are.
"""

import contextlib
import errno
import fcntl
import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

from virtnet.node.providers.objects import ROUTE, RTA_DST, RTA_EXPIRES, RTA_PREF, RTA_PRIORITY, NetlinkObject
from virtnet.node.rtattr import RTA_GATEWAY

_SIOCADDRT = 0x890B
_UP, _GATEWAY, _EXPIRES = 0x1, 0x2, 0x00400000
_DEFAULT, _ADDRCONF, _ROUTEINFO = 0x00010000, 0x00040000, 0x00800000
_PREFERENCE_BITS = 27
_HZ = 100

_ROUTES = Path("/proc/thread-self/net/ipv6_route")
_SYSCTLS = Path("/proc/sys/net/ipv6/conf")


class _Route(NamedTuple):
    """What makes an IPv6 route of one interface the same in all of the kernel's interfaces."""

    destination: bytes
    length: int
    gateway: bytes
    metric: int

    @classmethod
    def of(cls, item: NetlinkObject) -> Self:
        a = item.attributes
        gateway = a.get(RTA_GATEWAY, bytes(16))
        return cls(a.get(RTA_DST, bytes(16)), item.header[1], gateway, _number(item, RTA_PRIORITY))


def marked(objects: Iterable[NetlinkObject], name: str) -> list[NetlinkObject]:
    """Return the objects of an interface, with a mark at those of the kernel's own routes.

    In the namespace of the calling thread.
    """
    own = _routes(name)
    return [item.as_advertised if item.kind == ROUTE and _Route.of(item) in own else item for item in objects]


def _routes(name: str) -> set[_Route]:
    found = set()
    with contextlib.suppress(FileNotFoundError):  # no IPv6 in this kernel
        for line in _ROUTES.read_text().splitlines():
            destination, length, _, _, gateway, metric, _, _, flags, interface = line.split()
            if interface == name and int(flags, 16) & _ADDRCONF and int(flags, 16) & (_DEFAULT | _ROUTEINFO):
                found.add(_Route(bytes.fromhex(destination), int(length, 16), bytes.fromhex(gateway), int(metric, 16)))
    return found


def taken(index: int) -> bool:
    """Return whether an interface takes router advertisements. In the namespace of the calling thread."""
    settings = _SYSCTLS / socket.if_indextoname(index)
    try:
        accept, forwarding = (int((settings / key).read_text()) for key in ("accept_ra", "forwarding"))
    except FileNotFoundError:
        return False
    return accept == 2 or (accept == 1 and not forwarding)


def add(item: NetlinkObject, index: int) -> None:
    """Put a route as the kernel's own; one that is there already stays as it is. Raises OSError."""
    route, lifetime = _Route.of(item), _number(item, RTA_EXPIRES)
    flags = (
        _UP | _ADDRCONF | (_ROUTEINFO if route.length else _DEFAULT) | (_number(item, RTA_PREF) & 3) << _PREFERENCE_BITS
    )
    flags |= _GATEWAY if any(route.gateway) else 0
    flags |= _EXPIRES if lifetime else 0
    request = struct.pack(  # struct in6_rtmsg
        "@16s16s16sIHHILIi",
        *(route.destination, bytes(16), route.gateway, 0, route.length, 0, route.metric),
        *(lifetime * _HZ, flags, index),
    )
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as control:
        try:
            fcntl.ioctl(control, _SIOCADDRT, request)
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise


def _number(item: NetlinkObject, attribute: int) -> int:
    return int.from_bytes(item.attributes.get(attribute, b""), "little")

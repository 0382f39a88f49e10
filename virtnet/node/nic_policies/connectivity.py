"""Which links the node itself needs: for its default routes, its tunnels and the API server."""

import errno
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from virtnet.node.netns import inside

_MAIN_TABLE = 254


@dataclass(frozen=True)
class NodeLink:
    """One link."""

    index: int
    name: str
    master: int = 0
    """The bond, bridge or VRF that it belongs to; 0 for none."""
    lower: int = 0
    """The link that it lives on, as a VLAN does; 0 for none."""


@dataclass(frozen=True)
class NodeTraffic:
    """What of the node's own goes over which links."""

    links: tuple[NodeLink, ...]
    needs: Mapping[int, str] = field(default_factory=dict)
    """What a link has of the node's, in words, by its index."""

    def on(self, interface: str) -> str:
        """What an interface, or a link above it, has of the node's, in words; empty where nothing."""
        own = next((link for link in self.links if link.name == interface), None)
        if own is None:
            return ""
        names = {link.index: link.name for link in self.links}
        if own.master:
            return f"belongs to {names.get(own.master, 'another link')}"
        if own.index in self.needs:
            return self.needs[own.index]
        for index in self._above(own.index):
            if index in self.needs:
                return f"carries {names[index]}, which {self.needs[index]}"
        return ""

    def _above(self, index: int) -> Iterator[int]:
        seen = {index}
        while above := {link.index for link in self.links if link.lower in seen} - seen:
            masters = {link.master for link in self.links if link.index in above and link.master}
            yield from sorted(above | masters)
            seen |= above | masters


@dataclass(frozen=True)
class Connectivity:
    """What of the node's own goes over which NICs."""

    here: str
    """The node's network namespace, as a path."""
    bridge_of: Callable[[str], str | None]
    """The OVS bridge that has an interface as a port; empty where none has, None while Open vSwitch does not answer."""
    addresses: Callable[[], Collection[str]]
    """The node's: that of its tunnels, and by which others in the cluster know it."""
    server: str
    """The API server's host."""

    async def on(self, interface: str) -> str:
        """What an interface has of the node's, in words; empty where nothing. Raises OSError."""
        bridge = self.bridge_of(interface)
        if bridge is None:
            return "may be a port of Open vSwitch, which does not answer"
        if bridge:
            return f"is a port of OVS bridge {bridge}"
        addresses = self.addresses()
        traffic = await inside(self.here, lambda netlink: read(netlink, addresses, self.server))
        return traffic.on(interface)


def read(netlink: IPRoute, addresses: Collection[str], server: str) -> NodeTraffic:
    """In the namespace of the calling thread. ``addresses``: the node's; ``server``: the API server's host.

    Raises OSError, NetlinkError.
    """
    needs: dict[int, str] = {}
    for message in netlink.get_addr():
        address = str(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))
        if address in addresses:
            needs[int(message["index"])] = f"has the node's address {address}"
    for address in _resolved(server):
        for index in _way_to(netlink, address):
            needs[index] = f"leads to the API server ({address})"
    for message in netlink.get_routes():
        if message["dst_len"] == 0 and message.get_attr("RTA_TABLE") == _MAIN_TABLE:
            needs.update(dict.fromkeys(_interfaces(message), "has a default route of the node"))
    return NodeTraffic(tuple(map(_link, netlink.get_links())), needs)


def _link(message: Any) -> NodeLink:
    here = message.get_attr("IFLA_LINK_NETNSID") is None
    return NodeLink(
        index=int(message["index"]),
        name=str(message.get_attr("IFLA_IFNAME")),
        master=int(message.get_attr("IFLA_MASTER") or 0),
        lower=int(message.get_attr("IFLA_LINK") or 0) if here else 0,
    )


def _resolved(server: str) -> set[str]:
    """The addresses of a host; none where it cannot be found now."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(server, None, proto=socket.IPPROTO_TCP)}
    except OSError:
        return set()


def _way_to(netlink: IPRoute, address: str) -> Iterator[int]:
    try:
        for message in netlink.route("get", dst=address):
            yield from _interfaces(message)
    except NetlinkError as error:
        if error.code not in {errno.ENETUNREACH, errno.EHOSTUNREACH}:
            raise


def _interfaces(route: Any) -> Iterator[int]:
    if (index := route.get_attr("RTA_OIF")) is not None:
        yield int(index)
    for hop in route.get_attr("RTA_MULTIPATH") or ():
        yield int(hop["oif"])

"""Routes of one NIC: how they are asked for, and what a NIC is told of all that hold for it."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from virtnet.api.guest import MOST_ROUTES, Route

DEFAULTS = ("0.0.0.0/0", "::/0")

OPTION_BYTES = 255
"""What one DHCPv4 option holds (RFC 2132): option 121 with all routes of a NIC."""

DEFAULT_BYTES = 5
"""What the default route takes of it, which is told there together with others."""


@dataclass(frozen=True)
class RouteRequest:
    """A route that somebody asks for."""

    destination: str
    gateway: str = ""
    """The next hop; empty for the Subnet's gateway."""

    def __str__(self) -> str:
        return f"{self.destination} by {self.gateway}" if self.gateway else self.destination


def read_requests(
    value: Any, *, destination: str = "destination", gateway: str = "gateway"
) -> tuple[RouteRequest, ...]:
    """The requests in a JSON value: a list of objects with these keys. Raises ValueError for any other form."""
    if isinstance(value, list) and len(value) > MOST_ROUTES:
        raise ValueError(f"{len(value)} routes are asked for one NIC; ask for at most {MOST_ROUTES}")
    form = f'routes must be like [{{"{destination}": "192.168.0.0/16", "{gateway}": "10.0.0.9"}}]'
    found = []
    for one in value if isinstance(value, list) else [None]:
        known = one if isinstance(one, dict) and one.keys() <= {destination, gateway} else {}
        to, by = known.get(destination), "" if known.get(gateway) is None else known[gateway]
        if not isinstance(to, str) or not isinstance(by, str):
            raise ValueError(form)  # noqa: TRY004 - as for every other value that is not understood
        found.append(RouteRequest(to, by))
    return tuple(found)


def effective_routes(
    own: Iterable[Route], of_subnet: Iterable[Route], *, addresses: Iterable[str], default_route: bool
) -> tuple[Route, ...]:
    """The routes of a NIC besides the one by its Subnet's gateway: its own, and its Subnet's where it has none.

    ``addresses``: the NIC's. The machine that is the next hop itself is told no such route. ``default_route``: whether
    a default route of the Subnet is meant for it.
    """
    own = tuple(own)
    theirs = [route for route in of_subnet if route.destination not in {one.destination for one in own}]
    if not default_route:
        theirs = [route for route in theirs if route.destination not in DEFAULTS]
    return tuple(route for route in (*own, *theirs) if route.gateway not in {*addresses})


def option_bytes(routes: Iterable[Route]) -> int:
    """How many bytes IPv4 routes take in DHCP's option 121 (RFC 3442).

    >>> option_bytes([Route(destination="10.17.0.0/16", gateway="10.0.0.9")])
    7
    """
    networks = (ip_network(route.destination) for route in routes)
    return sum(1 + (network.prefixlen + 7) // 8 + 4 for network in networks if network.version == 4)

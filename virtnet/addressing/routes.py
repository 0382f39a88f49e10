"""Which routes a NIC gets of those that are asked for it, and which NIC of a VM has the default route. Pure."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from virtnet.addressing.pool import Pool
from virtnet.addressing.pools import home
from virtnet.api import Route
from virtnet.api.routes import DEFAULTS, RouteRequest


def resolved(requests: Iterable[RouteRequest], pools: Sequence[Pool]) -> tuple[Route, ...]:
    """The routes that are asked for, each by a machine of the Subnet. Raises ValueError.

    A default route by the Subnet's gateway is none of them: the NIC that has the default route has that anyway.
    """
    found: dict[str, Route] = {}
    for one in requests:
        if not pools and one.destination in DEFAULTS and not one.gateway:
            continue  # the site tells it
        if not pools:
            raise ValueError(f"route {one}: the Subnet has no cidrs, and the site tells its guests routes; remove it")
        network = _network(one.destination, pools)
        pool = next((pool for pool in pools if pool.network.version == network.version), None)
        if pool is None:
            families = " or ".join(pool.family for pool in pools)
            raise ValueError(f"route {one}: the Subnet has no such addresses; ask for routes of {families}")
        route = Route(destination=str(network), gateway=_hop(one, pool) if one.gateway else str(pool.gateway))
        if found.setdefault(route.destination, route) != route:
            raise ValueError(f"route {one}: there is another to {route.destination}; keep one of them")
    own = {str(pool.gateway) for pool in pools}
    return tuple(route for route in found.values() if route.destination not in DEFAULTS or route.gateway not in own)


def requests_default(requests: Iterable[RouteRequest]) -> bool:
    return any(one.destination in DEFAULTS for one in requests)


def _network(text: str, pools: Sequence[Pool]) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        example = "fd00:20::/48" if all(pool.network.version == 6 for pool in pools) else "192.168.0.0/16"
        raise ValueError(f"route {text}: no network; write one like {example}, with no host bits set") from error


def _hop(request: RouteRequest, pool: Pool) -> str:
    """The next hop in canonical form. Raises ValueError for what the NIC cannot send to."""
    try:
        _, gateway = home(request.gateway, [pool])
    except ValueError as error:
        raise ValueError(f"route {request}: {error}") from error
    address, network = ip_address(gateway), pool.network
    ends = (network.network_address, *((network.broadcast_address,) if network.version == 4 else ()))
    if address not in network or address in ends:
        raise ValueError(
            f"route {request}: {gateway} is no host address of {network}, so that the NIC cannot reach it; "
            f"name a machine of this network, or none for its gateway {pool.gateway}"
        )
    return gateway

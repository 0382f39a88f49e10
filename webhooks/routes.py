"""The routes of NICs at admission: what NADs and annotations ask for, or why it cannot be."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from virtnet.addressing.pool import Pool
from virtnet.addressing.routes import resolved, wants_default
from virtnet.addressing.wants import Refused
from virtnet.api import Route
from virtnet.api.kubevirt import InvalidRequest, Nic, has_pod_network, requested_routes, routes_in
from virtnet.api.multus import NETWORKS, InvalidNetwork
from virtnet.api.names import ROUTES
from virtnet.api.routes import DEFAULT_BYTES, OPTION_BYTES, RouteRequest, option_bytes
from webhooks.cache import nad_network
from webhooks.networks import Member, Network, Networks, usable_pools

Body = Mapping[str, Any]


def vm_routes(
    vm: Body, nics: Iterable[Nic], networks: Mapping[str, Network], stored: Body | None
) -> dict[str, dict[str, Any]]:
    """The fields of each PinnedNic that are about routes, by network name. Raises Refused.

    One NIC has the default route: the one that asks for it, else the one in the place of the pod network, else the
    first; none where the pod network is another plugin's.
    """
    try:
        asked = requested_routes(vm, stored)
    except InvalidRequest as error:
        raise Refused(str(error)) from error
    ours = []
    for nic in nics:
        if nic.network in networks:
            ours.append(nic)
        elif nic.network in asked:
            raise Refused(f"annotation {ROUTES}: NIC {nic.network} is on no network of virtnet; remove it there")
    chosen = [nic.network for nic in ours if wants_default(asked.get(nic.network, ()))]
    if len(chosen) > 1:
        raise Refused(f"annotation {ROUTES}: NICs {' and '.join(chosen)} both ask for the default route; keep one")
    first = next((nic.network for nic in ours if nic.default), "" if has_pod_network(vm) else ours[0].network)
    default = chosen[0] if chosen else first
    found = {}
    for nic in ours:
        requests = asked.get(nic.network, ())
        routes = _routes(f"NIC {nic.network}", requests, networks[nic.network], for_guest=True)
        elsewhere = any(route.destination == "0.0.0.0/0" for route in routes)
        found[nic.network] = {"routes": routes, "default_route": nic.network == default and not elsewhere}
    return found


def pod_routes(pod: Body, members: Mapping[str, Member]) -> dict[str, tuple[Route, ...]]:
    """The routes of each NIC of an ordinary pod, by interface. Raises Refused."""
    _one_default_route(members)
    try:
        asked = routes_in(ROUTES, (pod["metadata"].get("annotations") or {}).get(ROUTES))
    except InvalidRequest as error:
        raise Refused(str(error)) from error
    for interface, requests in asked.items():
        if interface not in members:
            known = ", ".join(sorted(members))
            raise Refused(f"annotation {ROUTES}: the pod has no interface {interface} of virtnet; it has {known}")
        if wants_default(requests):
            raise Refused(
                f"annotation {ROUTES}: interface {interface}: a pod chooses its default route by default-route in its "
                "selection of networks"
            )
    return {
        interface: _routes(f"interface {interface}", asked.get(interface, ()), member.network, for_guest=False)
        for interface, member in members.items()
    }


def _one_default_route(members: Mapping[str, Member]) -> None:
    """Of two in one family a pod would have the one whose NIC came last. Raises Refused."""
    first: dict[str, str] = {}
    for interface, member in members.items():
        for pool in member.pools if member.selection.default_route else ():
            other = first.setdefault(pool.family, interface)
            if other != interface:
                raise Refused(
                    f"annotation {NETWORKS}: interfaces {other} and {interface} both have a default-route of "
                    f"{pool.family}; keep one"
                )


async def check_nad(body: Body, networks: Networks) -> None:
    """A NetworkAttachmentDefinition that is written. Its Subnet may come later. Raises Refused and ApiError."""
    says = nad_network(body)
    if isinstance(says, InvalidNetwork):
        raise Refused(str(says))
    subnet = await networks.subnet(says.subnet) if says and says.routes else None
    if says and subnet is not None:
        metadata = body["metadata"]
        where = f"NetworkAttachmentDefinition {metadata['namespace']}/{metadata['name']}: spec.config"
        _resolved(where, says.routes, usable_pools(subnet))


def _routes(who: str, asked: tuple[RouteRequest, ...], network: Network, *, for_guest: bool) -> tuple[Route, ...]:
    """What is asked for by name, and what the NAD has besides."""
    subnet = network.subnet
    six = next((one for one in asked if ":" in one.destination), None) if for_guest else None
    if six is not None:
        raise Refused(
            f"{subnet.ref}: {who}: route {six}: guests learn IPv6 routes from advertisements of the Subnet's router, "
            "which are the same for all; write it into the guest"
        )
    by_name = _resolved(f"{subnet.ref}: {who}", asked, network.pools)
    by_nad = _resolved(f"{subnet.ref}: {who}, by its NetworkAttachmentDefinition", network.nad.routes, network.pools)
    if for_guest:
        by_nad = tuple(route for route in by_nad if ":" not in route.destination)
    named = {route.destination for route in by_name}
    found = (*by_name, *(route for route in by_nad if route.destination not in named))
    if for_guest and (needed := option_bytes((*found, *subnet.spec.routes)) + DEFAULT_BYTES) > OPTION_BYTES:
        raise Refused(
            f"{subnet.ref}: {who}: its routes and those of its Subnet take {needed} bytes, and DHCP has room for "
            f"{OPTION_BYTES}; ask for fewer, or for wider ones"
        )
    return found


def _resolved(who: str, requests: tuple[RouteRequest, ...], pools: Sequence[Pool]) -> tuple[Route, ...]:
    try:
        return resolved(requests, pools)
    except ValueError as error:
        raise Refused(f"{who}: {error}") from error

"""The routes of NICs at admission: what NADs and annotations ask for, or why it cannot be."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from virtnet.addressing.pool import Pool
from virtnet.addressing.requests import Refused
from virtnet.addressing.routes import requests_default, resolved
from virtnet.api import Route
from virtnet.api.kubevirt import VmNic
from virtnet.api.meta import annotations_of
from virtnet.api.multus import NETWORKS
from virtnet.api.names import ROUTES
from virtnet.api.routes import DEFAULT_BYTES, OPTION_BYTES, RouteRequest, option_bytes
from virtnet.api.vm_requests import InvalidRequest, routes_in
from webhooks.networks import AdmittedNetwork, Member

Body = Mapping[str, Any]


def default_nic(
    nics: Iterable[VmNic],
    ours: Container[str],
    requested: Mapping[str, tuple[RouteRequest, ...]],
    *,
    has_pod_network: bool,
    unchanged: Container[str],
) -> str:
    """The network of the NIC that has a VM's default route; empty for none. Raises Refused.

    The one that asks for it, else the one in the place of the pod network, else the first; none where the pod network
    is another plugin's. ``ours``: the networks that are virtnet's. What is asked for ``unchanged`` NICs was admitted.
    """
    candidates = []
    for nic in nics:
        if nic.network in ours:
            candidates.append(nic)
        elif nic.network in requested and nic.network not in unchanged:
            raise Refused(f"annotation {ROUTES}: NIC {nic.network} is on no network of virtnet; remove it there")
    chosen = [nic.network for nic in candidates if requests_default(requested.get(nic.network, ()))]
    if len(chosen) > 1 and not all(network in unchanged for network in chosen):
        raise Refused(f"annotation {ROUTES}: NICs {' and '.join(chosen)} both ask for the default route; keep one")
    if chosen:
        return chosen[0]
    return next((nic.network for nic in candidates if nic.default), "" if has_pod_network else candidates[0].network)


def vm_routes(
    nic: VmNic, requests: tuple[RouteRequest, ...], network: AdmittedNetwork, *, default: str
) -> dict[str, Any]:
    """The fields of a PinnedNic that are about routes. ``default``: as default_nic has it. Raises Refused."""
    routes = _routes(f"NIC {nic.network}", requests, network, for_guest=True)
    elsewhere = any(route.destination == "0.0.0.0/0" for route in routes)
    return {"routes": routes, "default_route": nic.network == default and not elsewhere}


def pod_routes(pod: Body, members: Mapping[str, Member]) -> dict[str, tuple[Route, ...]]:
    """The routes of each NIC of an ordinary pod, by interface. Raises Refused."""
    _one_default_route(members)
    try:
        requested = routes_in(ROUTES, annotations_of(pod).get(ROUTES) or "")
    except InvalidRequest as error:
        raise Refused(str(error)) from error
    for interface, requests in requested.items():
        if interface not in members:
            known = ", ".join(sorted(members))
            raise Refused(f"annotation {ROUTES}: the pod has no interface {interface} of virtnet; it has {known}")
        if requests_default(requests):
            raise Refused(
                f"annotation {ROUTES}: interface {interface}: a pod chooses its default route by default-route in its "
                "selection of networks"
            )
    return {
        interface: _routes(f"interface {interface}", requested.get(interface, ()), member.network, for_guest=False)
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


def _routes(
    who: str, requested: tuple[RouteRequest, ...], network: AdmittedNetwork, *, for_guest: bool
) -> tuple[Route, ...]:
    """What is asked for by name, and what the NAD has besides."""
    subnet = network.subnet
    six = next((one for one in requested if ":" in one.destination), None) if for_guest else None
    if six is not None:
        raise Refused(
            f"{subnet.ref}: {who}: route {six}: guests learn IPv6 routes from advertisements of the Subnet's router, "
            "which are the same for all; write it into the guest"
        )
    by_name = resolved_routes(f"{subnet.ref}: {who}", requested, network.pools)
    by_nad = resolved_routes(
        f"{subnet.ref}: {who}, by its NetworkAttachmentDefinition", network.nad.routes, network.pools
    )
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


def resolved_routes(who: str, requests: tuple[RouteRequest, ...], pools: Sequence[Pool]) -> tuple[Route, ...]:
    try:
        return resolved(requests, pools)
    except ValueError as error:
        raise Refused(f"{who}: {error}") from error

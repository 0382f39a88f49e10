"""Native DHCPv4: what OVN tells the guests of a Subnet, and those that are told something else."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from virtnet.api import ClusterSubnet, Port, Route, Subnet, SubnetRef
from virtnet.api.addresses import family, is_ipv4
from virtnet.api.guest import GuestDhcp
from virtnet.api.routes import DEFAULT_BYTES, OPTION_BYTES, effective_routes, option_bytes
from virtnet.api.strings import check
from virtnet.topology.names import part, port_key, router_mac, switch_key
from virtnet.topology.ownership import own
from virtnet.topology.rows import Key, Row
from virtnet.topology.switch import Addressing, VpcNeighbours, gateway_key

DEFAULT = "0.0.0.0/0"


def dhcp4_key(ref: SubnetRef) -> Key:
    return part("DHCP_Options", switch_key(ref), "v4")


def has_own_dhcp4(port: Port, subnet: Subnet | ClusterSubnet) -> bool:
    """Whether a NIC is told something else than its Subnet's other guests."""
    spec = port.spec
    other_mtu = spec.mtu not in (0, subnet.spec.guest_mtu)
    is_hop = any(route.gateway in spec.addresses for route in subnet.spec.routes)
    return other_mtu or bool(spec.routes) or not spec.default_route or is_hop or spec.dhcp.own_options


def port_dhcp4_key(port: Port, subnet: Subnet | ClusterSubnet) -> Key:
    """The options that a NIC is answered with."""
    return part("DHCP_Options", port_key(port), "v4") if has_own_dhcp4(port, subnet) else dhcp4_key(subnet.ref)


def dhcp4_rows(subnet: Subnet | ClusterSubnet, pools: Iterable[Addressing], neighbours: VpcNeighbours) -> list[Row]:
    """The Subnet's DHCPv4 options; nothing where DHCP is off, or no IPv4."""
    routes = subnet.spec.guest_routes(neighbours.networks)
    options = _options(subnet, subnet.spec.guest_mtu, GuestDhcp())
    return _rows(dhcp4_key(subnet.ref), subnet, pools, routes, options, default_route=True)


def port_dhcp4_rows(
    port: Port, subnet: Subnet | ClusterSubnet, pools: Iterable[Addressing], neighbours: VpcNeighbours
) -> list[Row]:
    """The options of a NIC that has its own. Raises Ungrammatical, as of what its Subnet and its port are made."""
    spec = port.spec
    check(spec)
    check(subnet.spec)
    every = subnet.spec.guest_routes(neighbours.networks)
    routes = effective_routes(spec.routes, every, addresses=spec.addresses, default_route=spec.default_route)
    options = _options(subnet, spec.mtu or subnet.spec.guest_mtu, spec.dhcp)
    return _rows(port_dhcp4_key(port, subnet), subnet, pools, routes, options, default_route=spec.default_route)


def left_out(subnet: Subnet | ClusterSubnet, neighbours: VpcNeighbours) -> list[Route]:
    """The routes that DHCP has no room for, so that guests are not told them."""
    routes = [route for route in subnet.spec.guest_routes(neighbours.networks) if family(route.gateway) == "IPv4"]
    every = [route for route in routes if route.destination != DEFAULT]
    return every[len(_fitting(every, default=True)) :] if subnet.spec.dhcp.enabled else []


def _fitting(routes: Sequence[Route], *, default: bool) -> Sequence[Route]:
    """As many as there is room for, beside a default route."""
    room = OPTION_BYTES - (DEFAULT_BYTES if default else 0)
    needed = accumulate(option_bytes([route]) for route in routes)
    return routes[: sum(total <= room for total in needed)]


def _rows(
    key: Key,
    subnet: Subnet | ClusterSubnet,
    pools: Iterable[Addressing],
    routes: Sequence[Route],
    options: Mapping[str, str],
    *,
    default_route: bool,
) -> list[Row]:
    further = [route for route in routes if family(route.gateway) == "IPv4"]
    found = []
    for pool in pools:
        if pool.network.version == 4 and subnet.spec.dhcp.enabled:
            own_default = next((route.gateway for route in further if route.destination == DEFAULT), "")
            router = own_default or (str(pool.gateway) if default_route else "")
            dhcp_options = {"server_id": str(pool.gateway), **options, **_ways(further, router)}
            found.append(Row(key, {"cidr": str(pool.network), "options": dhcp_options, "external_ids": own(key)}))
    return found


def _options(subnet: Subnet | ClusterSubnet, mtu: int, guest: GuestDhcp) -> dict[str, str]:
    """As ovn-nb(5) writes them, table DHCP_Options; names and files are quoted strings there.

    A physical gateway names the server too: clients that renew send to it, and OVN answers before anything is sent.
    """
    dhcp, dns = subnet.spec.dhcp, subnet.spec.dns
    server = guest.tftp_server or dhcp.tftp_server
    lists = {"dns_server": dns.servers, "ntp_server": guest.ntp_servers or dhcp.ntp_servers}
    texts = {
        "domain_name": dns.domain,
        "bootfile_name": guest.boot_file_name or dhcp.boot_file_name,
        "tftp_server": "" if is_ipv4(server) else server,
        "wpad": guest.proxy_url,
    }
    addresses = {"tftp_server": server, "next_server": server} if is_ipv4(server) else {}
    return {
        "server_mac": router_mac(gateway_key(subnet)),
        "lease_time": str(dhcp.lease_seconds),
        "mtu": str(mtu),
        **{name: _list(found) for name, every in lists.items() if (found := [one for one in every if is_ipv4(one)])},
        **{name: f'"{text}"' for name, text in texts.items() if text},
        **addresses,
    }


def _ways(further: list[Route], router: str) -> dict[str, str]:
    """The default route and all others. Those that a DHCP option has no room for, a condition tells (``left_out``).

    A client that gets the classless routes ignores the router (RFC 3442), so the default route is told again there.
    """
    options = {"router": router} if router else {}
    every = [route for route in further if route.destination != DEFAULT]
    if every or any(route.destination == DEFAULT for route in further):
        last = [Route(destination=DEFAULT, gateway=router)] if router else []
        texts = [f"{route.destination},{route.gateway}" for route in (*_fitting(every, default=bool(last)), *last)]
        options["classless_static_route"] = _list(texts)
    return options


def _list(items: list[str]) -> str:
    return f"{{{', '.join(items)}}}"

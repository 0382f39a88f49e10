"""Native DHCPv4: what OVN tells the guests of a Subnet, and those that are told something else."""

from collections.abc import Iterable, Sequence

from virtnet.api import ClusterSubnet, Port, Route, Subnet, SubnetRef
from virtnet.api.addresses import family
from virtnet.api.routes import OPTION_BYTES, option_bytes, told
from virtnet.topology.names import part, port_key, router_mac, switch_key
from virtnet.topology.ownership import own
from virtnet.topology.rows import Key, Row
from virtnet.topology.switch import Addressing, Beside, gateway_key

DEFAULT = "0.0.0.0/0"


def dhcp4_key(ref: SubnetRef) -> Key:
    return part("DHCP_Options", switch_key(ref), "v4")


def has_own_dhcp4(port: Port, subnet: Subnet | ClusterSubnet) -> bool:
    """Whether a NIC is told other routes than its Subnet's other guests."""
    spec = port.spec
    return bool(spec.routes) or not spec.default_route or any(r.gateway in spec.addresses for r in subnet.spec.routes)


def port_dhcp4_key(port: Port, subnet: Subnet | ClusterSubnet) -> Key:
    """The options that a NIC is answered with."""
    return part("DHCP_Options", port_key(port), "v4") if has_own_dhcp4(port, subnet) else dhcp4_key(subnet.ref)


def dhcp4_rows(subnet: Subnet | ClusterSubnet, pools: Iterable[Addressing], beside: Beside) -> list[Row]:
    """The Subnet's DHCPv4 options; nothing where DHCP is off, or no IPv4."""
    routes = subnet.spec.guest_routes(beside.networks)
    return _rows(dhcp4_key(subnet.ref), subnet, pools, routes, default_route=True)


def port_dhcp4_rows(
    port: Port, subnet: Subnet | ClusterSubnet, pools: Iterable[Addressing], beside: Beside
) -> list[Row]:
    """The options of a NIC that has its own."""
    spec = port.spec
    every = subnet.spec.guest_routes(beside.networks)
    routes = told(spec.routes, every, addresses=spec.addresses, default_route=spec.default_route)
    return _rows(port_dhcp4_key(port, subnet), subnet, pools, routes, default_route=spec.default_route)


def _rows(
    key: Key,
    subnet: Subnet | ClusterSubnet,
    pools: Iterable[Addressing],
    routes: Sequence[Route],
    *,
    default_route: bool,
) -> list[Row]:
    further = [route for route in routes if family(route.gateway) == "IPv4"]
    found = []
    for pool in pools:
        if pool.network.version == 4 and subnet.spec.dhcp.enabled:
            own_default = next((route.gateway for route in further if route.destination == DEFAULT), "")
            router = own_default or (str(pool.gateway) if default_route else "")
            options = _options(subnet, str(pool.gateway)) | _ways(further, router)
            found.append(Row(key, {"cidr": str(pool.network), "options": options, "external_ids": own(key)}))
    return found


def _options(subnet: Subnet | ClusterSubnet, gateway: str) -> dict[str, str]:
    """As ovn-nb(5) writes them, table DHCP_Options; a domain name is a quoted string there.

    A physical gateway names the server too: clients that renew send to it, and OVN answers before anything is sent.
    """
    spec = subnet.spec
    options = {
        "server_id": gateway,
        "server_mac": router_mac(gateway_key(subnet)),
        "lease_time": str(spec.dhcp.lease_seconds),
        "mtu": str(spec.guest_mtu),
    }
    if servers := [server for server in spec.dns.servers if family(server) == "IPv4"]:
        options["dns_server"] = _list(servers)
    if spec.dns.domain:
        options["domain_name"] = f'"{spec.dns.domain}"'
    return options


def _ways(further: list[Route], router: str) -> dict[str, str]:
    """The default route and all others. Those that a DHCP option has no room for, admission has not let in.

    A client that gets the classless routes ignores the router (RFC 3442), so the default route is told again there.
    """
    options = {"router": router} if router else {}
    every = [route for route in further if route.destination != DEFAULT]
    if every or any(route.destination == DEFAULT for route in further):
        last = [Route(destination=DEFAULT, gateway=router)] if router else []
        while option_bytes([*every, *last]) > OPTION_BYTES:
            every.pop()
        texts = [f"{route.destination},{route.gateway}" for route in (*every, *last)]
        options["classless_static_route"] = _list(texts)
    return options


def _list(items: list[str]) -> str:
    return f"{{{', '.join(items)}}}"

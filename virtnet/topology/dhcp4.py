"""Native DHCPv4: what OVN tells the guests of a Subnet."""

from collections.abc import Iterable

from virtnet.api import ClusterSubnet, Subnet, SubnetRef
from virtnet.api.addresses import family
from virtnet.topology.names import part, router_mac, switch_key
from virtnet.topology.ownership import own
from virtnet.topology.rows import Key, Row
from virtnet.topology.switch import Addressing, Beside, gateway_key


def dhcp4_key(ref: SubnetRef) -> Key:
    return part("DHCP_Options", switch_key(ref), "v4")


def dhcp4_rows(subnet: Subnet | ClusterSubnet, pools: Iterable[Addressing], beside: Beside) -> list[Row]:
    """The Subnet's DHCPv4 options; nothing where DHCP is off, or no IPv4."""
    key = dhcp4_key(subnet.ref)
    return [
        Row(key, {"cidr": str(pool.network), "options": _options(subnet, pool, beside), "external_ids": own(key)})
        for pool in pools
        if pool.network.version == 4 and subnet.spec.dhcp.enabled
    ]


def _options(subnet: Subnet | ClusterSubnet, pool: Addressing, beside: Beside) -> dict[str, str]:
    """As ovn-nb(5) writes them, table DHCP_Options; a domain name is a quoted string there.

    A physical gateway names the server too: clients that renew send to it, and OVN answers before anything is sent.
    """
    spec, gateway = subnet.spec, str(pool.gateway)
    options = {
        "server_id": gateway,
        "server_mac": router_mac(gateway_key(subnet)),
        "router": gateway,
        "lease_time": str(spec.dhcp.lease_seconds),
        "mtu": str(spec.guest_mtu),
    }
    if servers := [server for server in spec.dns.servers if family(server) == "IPv4"]:
        options["dns_server"] = _list(servers)
    if spec.dns.domain:
        options["domain_name"] = f'"{spec.dns.domain}"'
    further = [route for route in spec.guest_routes(beside.networks) if family(route.gateway) == "IPv4"]
    if further:
        # A client that gets this option ignores the router option (RFC 3442), so the default route is told again.
        routes = [f"{route.destination},{route.gateway}" for route in further]
        if not any(route.destination == "0.0.0.0/0" for route in further):
            routes.append(f"0.0.0.0/0,{gateway}")
        options["classless_static_route"] = _list(routes)
    return options


def _list(items: list[str]) -> str:
    return f"{{{', '.join(items)}}}"

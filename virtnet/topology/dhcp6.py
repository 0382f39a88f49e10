"""Native DHCPv6 and router advertisements: what OVN tells the IPv6 guests of a Subnet.

Addresses are pinned, so they are given by stateful DHCPv6 and never made by the guest (SLAAC, privacy addresses): port
security would drop what such a guest sends. The router's advertisements say so, and carry the MTU.
"""

from collections.abc import Iterable

from virtnet.api import ClusterSubnet, Subnet, SubnetRef
from virtnet.api.addresses import family
from virtnet.topology.names import part, router_mac, switch_key
from virtnet.topology.ownership import own
from virtnet.topology.rows import Key, Row
from virtnet.topology.switch import Addressing, gateway_key


def dhcp6_key(ref: SubnetRef) -> Key:
    return part("DHCP_Options", switch_key(ref), "v6")


def dhcp6_rows(subnet: Subnet | ClusterSubnet, pools: Iterable[Addressing]) -> list[Row]:
    """The Subnet's DHCPv6 options; nothing where DHCP is off, or no IPv6."""
    key = dhcp6_key(subnet.ref)
    return [
        Row(key, {"cidr": str(pool.network), "options": _options(subnet), "external_ids": own(key)})
        for pool in pools
        if pool.network.version == 6 and subnet.spec.dhcp.enabled
    ]


def _options(subnet: Subnet | ClusterSubnet) -> dict[str, str]:
    """As ovn-nb(5) writes them, table DHCP_Options; the server is known by a MAC."""
    options = {"server_id": router_mac(gateway_key(subnet))}
    if servers := _servers(subnet):
        options["dns_server"] = f"{{{', '.join(servers)}}}"
    if subnet.spec.dns.domain:
        options["domain_search"] = f'"{subnet.spec.dns.domain}"'
    return options


def advertisements(subnet: Subnet | ClusterSubnet) -> dict[str, str]:
    """The ipv6_ra_configs of the router's port (ovn-nb(5)); nothing where a router outside advertises itself."""
    spec = subnet.spec
    if not spec.dhcp.enabled or spec.physical_gateway or not any(network.version == 6 for network in spec.networks):
        return {}
    configs = {"address_mode": "dhcpv6_stateful", "send_periodic": "true", "mtu": str(spec.guest_mtu)}
    if servers := _servers(subnet):
        configs["rdnss"] = servers[0]
    if spec.dns.domain:
        configs["dnssl"] = spec.dns.domain
    return configs


def _servers(subnet: Subnet | ClusterSubnet) -> list[str]:
    return [server for server in subnet.spec.dns.servers if family(server) == "IPv6"]

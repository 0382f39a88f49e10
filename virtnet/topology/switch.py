"""A Subnet's logical switch, and what joins it to its Vpc's router."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Protocol, Self

from virtnet.api import ClusterSubnet, Subnet
from virtnet.api.addresses import Address, Network, family
from virtnet.topology.multicast import multicast_config
from virtnet.topology.names import part, router_key, router_mac, row_name, switch_key, uplink_key
from virtnet.topology.ownership import own
from virtnet.topology.rows import Key, Parent, Row
from virtnet.topology.vlan_trunk import trunk_config

_GATEWAY = "gateway"


RouterInterface = IPv4Interface | IPv6Interface


class Addressing(Protocol):
    """What topology has to know of a Subnet's pool: there is one for each of its families."""

    @property
    def gateway(self) -> Address: ...

    @property
    def network(self) -> Network: ...

    @property
    def former(self) -> Collection[Address]:
        """What the Vpc's router had until lately, and still answers for."""
        ...


@dataclass(frozen=True)
class VpcNeighbours:
    """The other Subnets of a Vpc, as far as a Subnet depends on them."""

    networks: tuple[str, ...] = ()
    """What the Vpc's router leads to from it."""
    mtu: int = 0
    """The largest of them."""

    @classmethod
    def of(cls, others: Iterable[Subnet | ClusterSubnet]) -> Self:
        routed = [other.spec for other in others if other.spec.routed]
        networks = tuple(cidr for spec in routed for cidr in spec.cidrs)
        return cls(networks, max((spec.guest_mtu for spec in routed), default=0))


NO_NEIGHBOURS = VpcNeighbours()


def switch_rows(subnet: Subnet | ClusterSubnet, pools: Sequence[Addressing]) -> list[Row]:
    key = switch_key(subnet.ref)
    config = multicast_config(subnet, router_mac(gateway_key(subnet)), router_interfaces(subnet, pools))
    config |= trunk_config(subnet)
    return [Row(key, {"name": row_name(key), "other_config": config, "external_ids": own(key)})]


def router_interfaces(subnet: Subnet | ClusterSubnet, pools: Sequence[Addressing]) -> list[RouterInterface]:
    """The Vpc's router in this Subnet, with what it had until lately; nothing where it has no address by now."""
    present = present_interfaces(subnet, pools)
    former = [ip_interface(f"{one}/{pool.network.prefixlen}") for pool in pools for one in sorted(pool.former)]
    return [*present, *former] if present else []


def present_interfaces(subnet: Subnet | ClusterSubnet, pools: Iterable[Addressing]) -> list[RouterInterface]:
    """The router's addresses: the gateways, or beside physical gateways those of its own, if any."""
    if not subnet.spec.physical_gateway:
        return [ip_interface(f"{pool.gateway}/{pool.network.prefixlen}") for pool in pools]
    return [
        ip_interface(f"{address}/{pool.network.prefixlen}")
        for pool in pools
        for address in subnet.spec.router_addresses
        if family(address) == f"IPv{pool.network.version}"
    ]


def gateway_key(subnet: Subnet | ClusterSubnet) -> Key:
    """The router's port in a Subnet."""
    return part("Logical_Router_Port", switch_key(subnet.ref), _GATEWAY)


def gateway_rows(
    subnet: Subnet | ClusterSubnet,
    pools: Sequence[Addressing],
    neighbours: VpcNeighbours,
    advertised: Mapping[str, str],
) -> list[Row]:
    """A port of the Vpc's router, and the switch's port that leads to it; nothing where the router has no address.

    ``advertised``: what the router says of itself (ovn-nb(5), ipv6_ra_configs). Where others of the Vpc send larger
    packets, the router tells them so (RFC 1191) instead of losing them.
    """
    interfaces = router_interfaces(subnet, pools)
    if not interfaces:
        return []
    switch, gateway = switch_key(subnet.ref), gateway_key(subnet)
    mtu = subnet.spec.guest_mtu
    uplink = uplink_key(subnet.ref)
    return [
        Row(
            gateway,
            {
                "name": row_name(gateway),
                "mac": router_mac(gateway),
                "networks": frozenset(map(str, interfaces)),
                "ipv6_ra_configs": advertised,
                "options": {"gateway_mtu": str(mtu)} if mtu < neighbours.mtu else {},
                "external_ids": own(gateway),
            },
            Parent(router_key(subnet), "ports"),
        ),
        Row(
            uplink,
            {
                "name": row_name(uplink),
                "type": "router",
                "addresses": frozenset({"router"}),
                "port_security": frozenset(),
                "dhcpv4_options": None,
                "dhcpv6_options": None,
                "options": {"router-port": row_name(gateway)},
                "external_ids": own(uplink),
            },
            Parent(switch, "ports"),
        ),
    ]

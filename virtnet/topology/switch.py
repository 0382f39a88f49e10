"""A Subnet's logical switch, and what joins it to its Vpc's router."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol, Self

from virtnet.api import ClusterSubnet, Subnet
from virtnet.topology.multicast import multicast_config
from virtnet.topology.names import part, router_key, router_mac, row_name, switch_key
from virtnet.topology.ownership import own
from virtnet.topology.rows import Key, Parent, Row

_GATEWAY = "gateway"
_ROUTER = "router"


class Addressing(Protocol):
    """What topology has to know of a Subnet's pool."""

    @property
    def gateway(self) -> IPv4Address: ...

    @property
    def network(self) -> IPv4Network: ...


@dataclass(frozen=True)
class Beside:
    """What a Subnet has to know of the others in its Vpc."""

    networks: tuple[str, ...] = ()
    """What the Vpc's router leads to from it."""
    mtu: int = 0
    """The largest of them."""

    @classmethod
    def of(cls, others: Iterable[Subnet | ClusterSubnet]) -> Self:
        routed = [other.spec for other in others if other.spec.routed]
        return cls(tuple(spec.cidr for spec in routed), max((spec.guest_mtu for spec in routed), default=0))


ALONE = Beside()


def switch_rows(subnet: Subnet | ClusterSubnet, pool: Addressing) -> list[Row]:
    key = switch_key(subnet.ref)
    config = multicast_config(subnet, router_mac(gateway_key(subnet)), router_address(subnet, pool))
    return [Row(key, {"name": row_name(key), "other_config": config, "external_ids": own(key)})]


def router_address(subnet: Subnet | ClusterSubnet, pool: Addressing) -> IPv4Address | None:
    """The Vpc's router in this Subnet: its gateway, or beside a physical gateway an own address, if any."""
    if not subnet.spec.physical_gateway:
        return pool.gateway
    return next((IPv4Address(address) for address in subnet.spec.router_addresses if ":" not in address), None)


def gateway_key(subnet: Subnet | ClusterSubnet) -> Key:
    """The router's port in a Subnet."""
    return part("Logical_Router_Port", switch_key(subnet.ref), _GATEWAY)


def gateway_rows(subnet: Subnet | ClusterSubnet, pool: Addressing, beside: Beside) -> list[Row]:
    """A port of the Vpc's router, and the switch's port that leads to it; nothing where the router has no address.

    Where others of the Vpc send larger packets, the router tells them so (RFC 1191) instead of losing them.
    """
    address = router_address(subnet, pool)
    if address is None:
        return []
    switch, gateway = switch_key(subnet.ref), gateway_key(subnet)
    mtu = subnet.spec.guest_mtu
    uplink = part("Logical_Switch_Port", switch, _ROUTER)
    return [
        Row(
            gateway,
            {
                "name": row_name(gateway),
                "mac": router_mac(gateway),
                "networks": frozenset({f"{address}/{pool.network.prefixlen}"}),
                "options": {"gateway_mtu": str(mtu)} if mtu < beside.mtu else {},
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
                "options": {"router-port": row_name(gateway)},
                "external_ids": own(uplink),
            },
            Parent(switch, "ports"),
        ),
    ]

"""A Subnet's logical switch, and what joins it to its Vpc's router."""

from ipaddress import IPv4Address, IPv4Network
from typing import Protocol

from virtnet.api import ClusterSubnet, Subnet
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


def switch_rows(subnet: Subnet | ClusterSubnet) -> list[Row]:
    key = switch_key(subnet.ref)
    return [Row(key, {"name": row_name(key), "external_ids": own(key)})]


def gateway_key(subnet: Subnet | ClusterSubnet) -> Key:
    """The router's port in a Subnet."""
    return part("Logical_Router_Port", switch_key(subnet.ref), _GATEWAY)


def gateway_rows(subnet: Subnet | ClusterSubnet, pool: Addressing) -> list[Row]:
    """The gateway: a port of the Vpc's router, and the switch's port that leads to it."""
    switch, gateway = switch_key(subnet.ref), gateway_key(subnet)
    uplink = part("Logical_Switch_Port", switch, _ROUTER)
    return [
        Row(
            gateway,
            {
                "name": row_name(gateway),
                "mac": router_mac(gateway),
                "networks": frozenset({f"{pool.gateway}/{pool.network.prefixlen}"}),
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

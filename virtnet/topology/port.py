"""A Port: one logical switch port, named after it."""

from virtnet.api import ClusterSubnet, Port, Subnet
from virtnet.topology.chassis import Chassis, chassis_options, journal_ids
from virtnet.topology.dhcp4 import port_dhcp4_key
from virtnet.topology.dhcp6 import dhcp6_key
from virtnet.topology.names import port_key, switch_key
from virtnet.topology.ownership import own
from virtnet.topology.rows import Parent, Ref, Row


def port_rows(port: Port, subnet: Subnet | ClusterSubnet, chassis: Chassis) -> list[Row]:
    """The port of a NIC. It may send from its own MAC and addresses only, and is answered DHCP for them."""
    key = port_key(port)
    dhcp4 = subnet.spec.dhcp.enabled and any(network.version == 4 for network in subnet.spec.networks)
    dhcp6 = subnet.spec.dhcp.enabled and any(network.version == 6 for network in subnet.spec.networks)
    addresses = frozenset({" ".join((port.spec.mac_address, *port.spec.addresses))})
    return [
        Row(
            key,
            {
                "name": port.key,
                "type": "",
                "addresses": addresses,
                "port_security": addresses,
                "dhcpv4_options": Ref(port_dhcp4_key(port, subnet)) if dhcp4 else None,
                "dhcpv6_options": Ref(dhcp6_key(subnet.ref)) if dhcp6 else None,
                "options": chassis_options(chassis),
                "external_ids": own(key, journal_ids(chassis)),
            },
            Parent(switch_key(subnet.ref), "ports"),
        )
    ]

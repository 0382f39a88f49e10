"""A Port: one logical switch port, named after it."""

from collections.abc import Sequence

from virtnet.api import ClusterSubnet, Port, Subnet
from virtnet.api.addresses import family
from virtnet.api.grammar import Ungrammatical
from virtnet.api.nic_kinds import EXTERNAL_NICS
from virtnet.api.strings import check
from virtnet.topology.chassis import PortChassis, chassis_options, journal_ids
from virtnet.topology.dhcp4 import port_dhcp4_key
from virtnet.topology.dhcp6 import dhcp6_key
from virtnet.topology.external import EXTERNAL, group_key
from virtnet.topology.names import is_named, port_key, switch_key
from virtnet.topology.ownership import own
from virtnet.topology.router_messages import router_port_rows
from virtnet.topology.rows import Parent, Ref, Row
from virtnet.topology.tables import UNKNOWN
from virtnet.topology.vlan_trunk import is_trunk, trunk_port_rows

ANY = "0.0.0.0/0 ::/0"
"""Every address. Of a MAC alone OVN (23.03) drops neighbour advertisements: it lets those pass whose hop limit is 225,
and all have 255. With these they pass; in the place of the MAC alone these would have all but IP dropped.
"""


def port_rows(
    port: Port, subnet: Subnet | ClusterSubnet, chassis: PortChassis, allowed: Sequence[str] = ()
) -> list[Row]:
    """The port of a NIC. It is answered DHCP for its addresses, and may send from these and its own MAC only.

    Within VLANs a guest has addresses of other networks, and OVN knows no difference: a trunk's NIC is held to its MAC
    alone, and so is one to whom the site gives its addresses. One that is exempt is held to nothing, and gets what is
    for MACs that no port has.

    ``allowed``: CIDRs that it may send from besides, by its own MAC.

    Raises Ungrammatical for a Port whose strings are not of their types, however it came to be stored, and for one that
    lacks addresses elsewhere: it could send from any.
    """
    check(port.metadata)
    check(port.spec)
    if problem := subnet.spec.lacking(port.spec.addresses):
        raise Ungrammatical(problem)
    key, external = port_key(port), port.spec.nic in EXTERNAL_NICS and subnet.spec.underlay
    families = set(map(family, subnet.spec.cidrs)) if subnet.spec.dhcp.enabled else ()
    dhcp4, dhcp6 = "IPv4" in families, "IPv6" in families
    hostname = port.spec.dhcp.hostname
    exempt, own_addresses = is_exempt(port, subnet), " ".join((port.spec.mac_address, *port.spec.addresses))
    mac = port.spec.mac_address
    held_to = {" ".join((own_addresses, *allowed))} if port.spec.addresses else {mac, f"{mac} {ANY}"}
    if is_trunk(port, subnet):
        held_to = {mac}
    return [
        Row(
            key,
            {
                "name": port.key,
                "type": EXTERNAL if external else "",
                "addresses": frozenset({own_addresses, UNKNOWN} if exempt else {own_addresses}),
                "port_security": frozenset() if exempt else frozenset(held_to),
                "dhcpv4_options": Ref(port_dhcp4_key(port, subnet)) if dhcp4 else None,
                "dhcpv6_options": Ref(dhcp6_key(subnet.ref)) if dhcp6 else None,
                "ha_chassis_group": Ref(group_key(subnet.ref)) if external else None,
                "options": chassis_options(chassis) | ({"hostname": f'"{hostname}"'} if hostname and dhcp4 else {}),
                "external_ids": own(key, journal_ids(chassis)),
            },
            Parent(switch_key(subnet.ref), "ports"),
        ),
        *router_port_rows(port, subnet),
        *trunk_port_rows(port, subnet),
    ]


def is_exempt(port: Port, subnet: Subnet | ClusterSubnet) -> bool:
    """Whether a NIC may send from any MAC and address."""
    security = subnet.spec.port_security
    return not security.enabled or is_named(port, subnet, security.exempt)

"""What makes a Subnet's switch a part of a physical network (ovn-architecture(7), "Physical VLANs and localnet")."""

from collections.abc import Sequence

from virtnet.api import ClusterSubnet, Subnet
from virtnet.topology.acls import Direction, acl
from virtnet.topology.names import localnet_key, localnet_name, part, router_mac, row_name, switch_key
from virtnet.topology.ownership import own
from virtnet.topology.rows import Parent, Row
from virtnet.topology.switch import Addressing, gateway_key, router_interfaces
from virtnet.topology.tables import UNKNOWN

_PRIORITY = 32000
"""Above what anybody allows, below what OVN keeps for itself."""


def localnet_rows(subnet: Subnet | ClusterSubnet) -> list[Row]:
    """The port to the physical network; nothing in an overlay."""
    spec = subnet.spec
    if not spec.underlay:
        return []
    switch, localnet = switch_key(subnet.ref), localnet_key(subnet.ref)
    # Routers and switches outside must see what guests join, and get what they send.
    flood = {"mcast_flood": "true", "mcast_flood_reports": "true"} if spec.multicast.snooping else {}
    return [
        Row(
            localnet,
            {
                "name": row_name(localnet),
                "type": "localnet",
                "addresses": frozenset({UNKNOWN}),
                "port_security": frozenset(),
                "dhcpv4_options": None,
                "dhcpv6_options": None,
                "tag": spec.vlan or None,
                "options": {"network_name": spec.provider_network, **flood},
                "external_ids": own(localnet),
            },
            Parent(switch, "ports"),
        )
    ]


def router_acl_rows(subnet: Subnet | ClusterSubnet, pools: Sequence[Addressing]) -> list[Row]:
    """What keeps the Vpc's router for our own NICs; nothing where it has no address in an underlay.

    The router is on every node. A machine outside that asked for it would be answered by all, and each of its packets
    would be routed once by each, because no switch outside ever learns where the router's MAC is. So it is neither
    asked nor does it ask, out there. No ACL stops neighbour discovery, which OVN lets pass before all of them: of
    IPv6, the nodes' bridges keep it in (virtnet.node.egress).
    """
    addresses = [interface.ip for interface in router_interfaces(subnet, pools)]
    if not subnet.spec.underlay or not addresses:
        return []
    outside, mac = localnet_name(subnet.ref), router_mac(gateway_key(subnet))
    v4 = [address for address in addresses if address.version == 4]
    for_router = " || ".join((f"eth.dst == {mac}", *(f"arp.tpa == {one}" for one in v4)))
    found = [_drop(subnet, "unasked", "from-lport", f'inport == "{outside}" && ({for_router})')]
    if v4:
        asking = " || ".join(f"arp.spa == {one}" for one in v4)
        found.append(_drop(subnet, "unasking", "to-lport", f'outport == "{outside}" && ({asking})'))
    return found


def _drop(subnet: Subnet | ClusterSubnet, name: str, direction: Direction, match: str) -> Row:
    switch = switch_key(subnet.ref)
    return acl(part("ACL", switch, name), switch, direction, _PRIORITY, match=match, action="drop")

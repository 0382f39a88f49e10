"""What only routers and servers send, and a switch takes from no guest: it would lead others' packets astray.

OVN lets router advertisements and MLD queries pass before all ACLs; their nodes keep those of guests in.

The drop names no port, so that a NIC is under it from its first frame on, wherever it is bound. Who may send such
messages is let through above it: the Vpc's router, the physical network, and NICs of workloads that the Subnet names.
"""

from virtnet.api import ClusterSubnet, Port, Subnet
from virtnet.topology.acls import acl, any_of
from virtnet.topology.names import is_named, localnet_name, part, port_key, row_name, switch_key, uplink_key
from virtnet.topology.rows import Key, Row
from virtnet.topology.vlan_trunk import passing

_DROP, _PASS = 31000, 31001
"""Priorities: above what anybody allows, below what keeps the router in (virtnet.topology.underlay)."""

MESSAGES = " || ".join(
    f"({terms})"
    for terms in (
        "icmp6.type == 137",  # redirects
        "icmp4.type == {5, 9}",  # redirects, router advertisements
        "ip4.dst == 224.0.0.1 && ip.proto == 2",  # IGMP queries; reports go elsewhere
        "udp.dst == {68, 546}",  # answers to DHCP clients, which take them from whatever port
        # Of a fragment Open vSwitch sees no type and no port. Neighbour discovery comes with 255 (RFC 4861), MLD with
        # 1 (RFC 3810), or is not believed; what else is sent in fragments comes with others.
        "ip6 && ip.is_frag && ip.ttl == 255",
        "ip6 && ip.proto == 58 && ip.is_frag && ip.ttl == 1",
        "ip4 && ip.proto == 17 && ip.is_frag && eth.bcast",
        # Headers that end outside of the first fragment: it reads nothing of these, and says so by a 0.
        "ip6 && ip.ttl == 0",
    )
)


def router_message_rows(subnet: Subnet | ClusterSubnet) -> list[Row]:
    """The drop, and who besides guests is let through."""
    switch = switch_key(subnet.ref)
    senders = [row_name(uplink_key(subnet.ref))] if subnet.spec.routed else []
    senders += [localnet_name(subnet.ref)] if subnet.spec.underlay else []
    drop = acl(part("ACL", switch, "router-messages"), switch, "from-lport", _DROP, match=MESSAGES, action="drop")
    return [drop, _passing(part("ACL", switch, "routers"), switch, senders)] if senders else [drop]


def is_router(port: Port, subnet: Subnet | ClusterSubnet) -> bool:
    """Whether a NIC in the Subnet is that of a router or server."""
    return is_named(port, subnet, subnet.spec.routers)


def router_port_rows(port: Port, subnet: Subnet | ClusterSubnet) -> list[Row]:
    """What lets the NIC of a router or server through; nothing for that of anybody else."""
    if not is_router(port, subnet):
        return []
    return [_passing(part("ACL", port_key(port), "router"), switch_key(subnet.ref), [port.key], passing(port, subnet))]


def _passing(key: Key, switch: Key, senders: list[str], tags: str = "") -> Row:
    of = " && ".join((f"inport == {any_of(senders)}", *filter(None, [tags]), f"({MESSAGES})"))
    return acl(key, switch, "from-lport", _PASS, match=of, action="allow-stateless")

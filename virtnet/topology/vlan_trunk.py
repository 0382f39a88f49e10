"""Frames with VLAN tags: which NICs may send and get which.

OVN drops all of them, or with ``vlan-passthru`` none, whoever sends them. So there an ACL that names no port drops
them both ways, and each NIC of a trunk, and the physical network, is let through above it.
"""

from collections.abc import Iterable, Iterator

from virtnet.api import ClusterSubnet, Port, Subnet
from virtnet.topology.acls import Direction, acl
from virtnet.topology.names import is_named, localnet_name, part, port_key, switch_key
from virtnet.topology.rows import Key, Row

_DROP, _PASS, _UNANSWERED = 30000, 30001, 31002
"""Priorities: below what is said of router messages, which are dropped within tags too, but for the last."""

_WAYS: tuple[tuple[Direction, str], ...] = (("from-lport", "inport"), ("to-lport", "outport"))
_TAGGED = "vlan.present"
_ASKS = {4: "(udp.src == 68 && udp.dst == 67)", 6: "(udp.src == 546 && udp.dst == 547)"}
"""What DHCP clients send, by version of IP."""


def trunk_config(subnet: Subnet | ClusterSubnet) -> dict[str, str]:
    """The keys of the switch's other_config."""
    return {"vlan-passthru": "true"} if subnet.spec.vlan_trunks else {}


def trunk_rows(subnet: Subnet | ClusterSubnet) -> list[Row]:
    """The drop, and what lets the physical network through; nothing where OVN itself drops all tags."""
    if not subnet.spec.vlan_trunks:
        return []
    switch = switch_key(subnet.ref)
    rows = [
        acl(part("ACL", switch, f"tags-{way}"), switch, way, _DROP, match=_TAGGED, action="drop") for way, _ in _WAYS
    ]
    if subnet.spec.underlay:
        rows += _passing(part("ACL", switch, "localnet-tags"), switch, localnet_name(subnet.ref), _TAGGED)
    return rows


def is_trunk(port: Port, subnet: Subnet | ClusterSubnet) -> bool:
    """Whether a NIC in the Subnet may have frames with tags."""
    return bool(_tags(port, subnet))


def trunk_port_rows(port: Port, subnet: Subnet | ClusterSubnet) -> list[Row]:
    """What lets the tags of a trunk's NIC through; nothing for another NIC.

    OVN would answer what the guest asks of another VLAN's DHCP server, with this Subnet's address.
    """
    tags = _tags(port, subnet)
    if not tags:
        return []
    key, switch = port_key(port), switch_key(subnet.ref)
    rows = list(_passing(part("ACL", key, "tags"), switch, port.key, tags))
    answered = " || ".join(_ASKS[network.version] for network in subnet.spec.networks)
    if subnet.spec.dhcp.enabled and answered:
        asks = f'inport == "{port.key}" && eth.src == {port.spec.mac_address} && {_TAGGED} && ({answered})'
        rows.append(acl(part("ACL", key, "tagged-dhcp"), switch, "from-lport", _UNANSWERED, match=asks, action="drop"))
    return rows


def passing(port: Port, subnet: Subnet | ClusterSubnet) -> str:
    """A match of the frames of a NIC that have no tag, or one of its trunk's; empty where OVN drops all tags."""
    if not subnet.spec.vlan_trunks:
        return ""
    tags = _tags(port, subnet)
    return f"(!{_TAGGED} || {tags})" if tags else f"!{_TAGGED}"


def _passing(key: Key, switch: Key, port: str, tags: str) -> Iterator[Row]:
    for way, end in _WAYS:
        match = f'{end} == "{port}" && {tags}'
        yield acl(Key(key.table, f"{key.id}-{way}"), switch, way, _PASS, match=match, action="allow-stateless")


def _tags(port: Port, subnet: Subnet | ClusterSubnet) -> str:
    """A match of the tags that a NIC may have; empty for none."""
    matches = [
        f"{one[0]} <= vlan.vid <= {one[-1]}" if len(one) > 1 else f"vlan.vid == {one[0]}"
        for one in trunk_vlans(port, subnet)
    ]
    return f"({' || '.join(matches)})" if matches else ""


def trunk_vlans(port: Port, subnet: Subnet | ClusterSubnet) -> list[range]:
    """The VLANs of a NIC's trunks."""
    mine = (one for one in subnet.spec.vlan_trunks if not one.vms or is_named(port, subnet, one.vms))
    return _merged(vlans.range for one in mine for vlans in one.vlans)


def _merged(ranges: Iterable[range]) -> list[range]:
    """The same numbers, each once.

    >>> _merged([range(7, 8), range(1, 3), range(2, 4)])
    [range(1, 4), range(7, 8)]
    """
    merged: list[range] = []
    for one in sorted(filter(None, ranges), key=lambda one: (one.start, one.stop)):
        if merged and one.start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(one.stop, merged[-1].stop))
        else:
            merged.append(one)
    return merged

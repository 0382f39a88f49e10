"""Who uses a MAC on a piece of network: routers, nodes, and NICs in other Subnets of the same segment."""

from collections.abc import Iterator

from virtnet.api import Port, SubnetRef
from virtnet.api.addresses import is_mac
from virtnet.api.lease import lease_name
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.features.node_addresses import NODE_ADDRESSES
from virtnet.features.ovn_state import ROWS
from virtnet.features.sources import CLUSTER_SUBNETS, LEASES, PORTS, AnySubnet, segment, subnet_key
from virtnet.topology.names import router_mac
from virtnet.topology.switch import gateway_key

VIRTUAL = {
    "00:00:5e:00:01:": "routers by VRRP",
    "00:00:5e:00:02:": "routers by VRRP",
    "00:00:0c:07:ac:": "routers by HSRP",
    "00:07:b4:00:": "routers by GLBP",
}
"""How MACs begin that machines take over from each other."""


PORTS.index("mac", lambda port: [port.spec.mac_address] if port.spec.subnet.kind == CLUSTER_SUBNETS.kind else [])


def others_on_segment(subnet: AnySubnet, reader: Reader) -> list[SubnetRef]:
    """The other Subnets of the same piece of a physical network."""
    place = segment(subnet)
    found = reader.by(CLUSTER_SUBNETS, "segment", place) if place else []
    return [one.ref for one in found if one.ref != subnet.ref]


def user_of(mac: str, subnet: AnySubnet, reader: Reader) -> str:
    """Who of those that have no lease uses a MAC where the Subnet is; empty where nobody does."""
    place = segment(subnet)
    for one in reader.by(CLUSTER_SUBNETS, "segment", place) if place else [subnet]:
        if mac == router_mac(gateway_key(one)):
            return f"the router of {one.spec.vpc.kind} {one.spec.vpc.key(one.namespace)}"
    if place is not None and (on_nodes := reader.by(NODE_ADDRESSES, "mac", (place[0], mac))):
        node = on_nodes[0]
        who = "node" if (place[0], mac) in node.nics else "OVN's routers on node"
        return f"{who} {node.node} on ProviderNetwork {place[0]}"
    return next((who for start, who in VIRTUAL.items() if mac.startswith(start)), "")


def mac_refusal(subnet: SubnetRef, mac: str, user: str) -> str:
    """What is said to who asks for a MAC that somebody uses without a lease."""
    return f"{subnet}: {mac} is used by {user}; choose another or remove the request"


def first_on_segment(port: Port, reader: Reader) -> Port | None:
    """The Port that has another's MAC on the same piece of a physical network, and comes before it; None for none.

    Admission refuses the second, but not where a lease was lost meanwhile, or two Subnets came there at once. Of two
    the one that OVN has stays, and of two that it has or has not the one whose key is less: never are both there.
    """
    subnet = reader.get(CLUSTER_SUBNETS, subnet_key(port.spec.subnet))
    others = others_on_segment(subnet, reader) if subnet is not None else ()
    for one in reader.by(PORTS, "mac", port.spec.mac_address) if others else ():
        if one.key != port.key and one.spec.subnet in others and _turn(one, reader) < _turn(port, reader):
            return one
    return None


def _turn(port: Port, reader: Reader) -> tuple[bool, str]:
    key = ObjectKey.of(port)
    return not reader.get(ROWS, key), port.key


def twice(new: AnySubnet, reader: Reader) -> Iterator[str]:
    """MACs of a Subnet's NICs that NICs in other Subnets of its piece of a physical network have."""
    others = others_on_segment(new, reader)
    for lease in reader.by(LEASES, "subnet", ObjectKey.of(new)) if others else ():
        if not is_mac(lease.address):
            continue
        for ref in others:
            other = reader.get(LEASES, LEASES.key(lease_name(lease.address, ref)))
            if other is not None and other.port != lease.port:
                yield f"MAC {lease.address} of {lease.holder} is that of {other.holder} in {ref}"

"""Whether a Subnet can be put into OVN, and why not. For the rows, and for the condition that people read."""

from virtnet.addressing.pools import InvalidSubnet, pools_of
from virtnet.api import ClusterSubnet, Port, Subnet
from virtnet.controllers.store import Store, segment, subnet_id, vpc_of
from virtnet.topology.compile import has_own_dhcp4, port_dhcp4_rows
from virtnet.topology.rows import Row
from virtnet.topology.switch import Beside


def obstacle(store: Store, subnet: Subnet | ClusterSubnet) -> tuple[str, str]:
    """What keeps a Subnet out of OVN: a reason for programs and a sentence for people; empty where nothing does.

    It keeps out what is not there yet. What guests already use stays, whatever becomes of the objects.
    """
    layout, known = store.obstacles
    if layout != store.layout:
        layout, known = store.obstacles = store.layout, {}
    id_ = subnet_id(subnet.ref)
    if id_ not in known:
        known[id_] = _obstacle(store, subnet)
    return known[id_]


def held_up(store: Store, port: Port) -> str:
    """What keeps a Port out of OVN, for people; empty where it is a matter of moments."""
    subnet = store.subnet(port.spec.subnet)
    if subnet is None:
        return f"{port.spec.subnet} does not exist; create it"
    _, message = obstacle(store, subnet)
    return f"{subnet.ref}: {message}" if message else ""


def own_dhcp(store: Store, port: Port, subnet: Subnet | ClusterSubnet, observed: list[Row]) -> list[Row]:
    """The DHCP options of a NIC that has its own; as they are where its Subnet cannot be put into OVN as it is now."""
    if not has_own_dhcp4(port, subnet):
        return []
    if obstacle(store, subnet) != ("", ""):
        return [row for row in observed if row.key.table == "DHCP_Options"]
    return port_dhcp4_rows(port, subnet, pools_of(subnet), Beside.of(store.beside(subnet)))


def _obstacle(store: Store, subnet: Subnet | ClusterSubnet) -> tuple[str, str]:
    reference, vpc = subnet.spec.vpc, store.vpc(vpc_of(subnet))
    try:
        pools_of(subnet)
    except InvalidSubnet as error:
        return "Invalid", str(error)
    if vpc is None:
        name = reference.key(subnet.namespace)
        return (
            "VpcMissing",
            f"{reference.kind} {name} does not exist; create it, or make the Subnet anew in another Vpc",
        )
    allowed = vpc.spec.allowed_namespaces
    if subnet.namespace and allowed and subnet.namespace not in allowed:
        return "VpcNotAllowed", (
            f"{reference.kind} {vpc.key} does not allow namespace {subnet.namespace}; ask its owner, or make the "
            "Subnet anew in another Vpc"
        )
    twin = store.twin(subnet)
    if twin is not None:
        ours, theirs = (", ".join(one.spec.cidrs) for one in (subnet, twin))
        return "Overlaps", f"{ours} overlaps {theirs} of {twin.ref} on {segment(subnet)}; use another VLAN"
    if subnet.spec.underlay and subnet.spec.provider_network not in store.provider_networks.objects:
        name = subnet.spec.provider_network
        return "ProviderNetworkMissing", f"ProviderNetwork {name} does not exist; create it, or name another"
    rival = store.rival(subnet)
    if rival is not None:
        ours, theirs = (", ".join(one.spec.cidrs) for one in (subnet, rival))
        return "Overlaps", f"{ours} overlaps {theirs} of {rival.ref}; delete one of them"
    return "", ""

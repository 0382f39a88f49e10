"""NodeNetwork: what is asked of a node, its NICs for physical networks and its part in handoffs."""

from itertools import chain
from typing import Any

from virtnet.api import HandoffPath, NodeHandoff, NodeNetwork, VlanRange
from virtnet.api.node_network import MOST_VLANS
from virtnet.engine.feature import Feature
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import Outcome, Report
from virtnet.features.chassis_conflicts import chassis_state, former_chassis, missing_state, stale_chassis
from virtnet.features.effects import RemoveChassis
from virtnet.features.handoff_facts import node_chassis
from virtnet.features.nic_policy import placed_policies
from virtnet.features.node_parts import NODE_NETWORKS
from virtnet.features.obstacles import subnet_of
from virtnet.features.ovn_state import ASSIGNMENTS, HandoffAssignment
from virtnet.features.provider_network import node_nics
from virtnet.features.sources import (
    CLUSTER_SUBNETS,
    NODES,
    PODS,
    PORTS,
    SUBNETS,
    AnySubnet,
    port_owner,
    subnet_key,
    subnets_of,
)
from virtnet.handoff.journal import HandoffJournal
from virtnet.topology.router_messages import is_router
from virtnet.topology.vlan_trunk import trunk_vlans


def _has_routers(subnet: AnySubnet) -> list[bool]:
    return [True] if subnet.spec.routers else []


SUBNETS.index("has_routers", _has_routers)
CLUSTER_SUBNETS.index("has_routers", _has_routers)
CLUSTER_SUBNETS.index("has_trunks", lambda subnet: [True] if subnet.spec.vlan_trunks else [])


def compile_node_network(key: ObjectKey, reader: Reader) -> Outcome:
    """No rows of its own: what is to be done about chassis that are in its way."""
    stale = (RemoveChassis(*one) for one in stale_chassis(key.name, reader))
    former = (RemoveChassis(*one, once=True) for one in former_chassis(key.name, reader))
    return Outcome((), (*stale, *former))


def report_node_network(key: ObjectKey, reader: Reader) -> Report | None:
    """What the node has not been asked for yet, or is to stop doing."""
    node = reader.whole(NODE_NETWORKS, key)
    if node is None:
        return None
    request = {
        "handoffs": _handoffs(node, reader),
        "nicPolicies": _nic_policies(node, reader),
        "providerNetworks": _provider_networks(node, reader),
        "routers": _routers(node, reader),
        "trunks": _trunks(node, reader),
    }
    return Report(
        (chassis_state(node.name, reader), missing_state(node.name, reader)),  # what a node cannot know of itself
        request={field: patch for field, patch in request.items() if patch is not None},
        shared=True,
    )


def _provider_networks(node: NodeNetwork, reader: Reader) -> dict[str, Any] | None:
    key, before = NODES.key(node.name), node.spec.provider_networks
    if reader.get(NODES, key) is None:  # nobody knows what it should have: everything stays as it is
        return None
    nics = reader.derive(node_nics, key).nics
    if before is not None and {name: part.nic for name, part in before.items()} == nics:
        return None
    patch: dict[str, Any] = {name: {"nic": nic} for name, nic in nics.items()}
    return patch | dict.fromkeys((before or {}).keys() - nics.keys())


def _nic_policies(node: NodeNetwork, reader: Reader) -> list[dict[str, Any]] | None:
    key = NODES.key(node.name)
    if reader.get(NODES, key) is None:  # as above
        return None
    found = reader.derive(placed_policies, key)
    if node.spec.nic_policies == found:
        return None
    return [one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in found]


def _routers(node: NodeNetwork, reader: Reader) -> list[str] | None:
    found = sorted(port for kind in (SUBNETS.kind, CLUSTER_SUBNETS.kind) for port in reader.derive(routers, kind))
    return None if [*node.spec.routers] == found else found


def routers(kind: str, reader: Reader) -> tuple[str, ...]:
    """The Ports of routers and servers in all Subnets of a kind; to be derived."""
    subnets = reader.by(subnets_of(kind), "has_routers", value=True)
    pairs = ((port, one) for one in subnets for port in reader.by(PORTS, "subnet", ObjectKey.of(one)))
    return tuple(port.key for port, one in pairs if is_router(port, one))


def _trunks(node: NodeNetwork, reader: Reader) -> dict[str, Any] | None:
    found, before = trunks(node.name, reader), node.spec.trunks
    if found == before:
        return None
    changed = {port: vlans for port, vlans in found.items() if before.get(port) != vlans}
    patch: dict[str, Any] = {port: [one.model_dump() for one in vlans] for port, vlans in changed.items()}
    return patch | dict.fromkeys(before.keys() - found.keys())


def trunks(node: str, reader: Reader) -> dict[str, tuple[VlanRange, ...]]:
    """The VLANs of the Ports of trunks that pods on a node have."""
    if not reader.by(CLUSTER_SUBNETS, "has_trunks", value=True):
        return {}
    found = {}
    for pod in reader.by(PODS, "node", node):
        for port in (reader.get(PORTS, PORTS.key(attachment.port)) for attachment in pod.attachments):
            subnet = subnet_of(subnet_key(port.spec.subnet), reader) if port else None
            if port and subnet and pod.owner == port_owner(port) and (vlans := trunk_vlans(port, subnet)):
                found[port.key] = tuple(VlanRange(first=one[0], last=one[-1]) for one in vlans)
    return found


def _handoffs(node: NodeNetwork, reader: Reader) -> dict[str, Any] | None:
    assignments = reader.by(ASSIGNMENTS, "node", node.name)
    parts = {one.port: part for one in assignments if (part := _part(node.name, one, reader))}
    before = node.spec.handoffs
    changed = {
        port: part.model_dump(mode="json", by_alias=True) for port, part in parts.items() if before.get(port) != part
    }
    # Of a port that nobody has looked at yet, what was asked for stands.
    known = {port: reader.get(ASSIGNMENTS, ObjectKey.named("Port", port)) for port in before}
    over = (port for port, assignment in known.items() if port not in parts and assignment is not None)
    patch = changed | dict.fromkeys(over)
    return patch or None


def _part(node: str, assignment: HandoffAssignment, reader: Reader) -> NodeHandoff | None:
    journal, sole_target = assignment.journal, assignment.sole_target
    vlans = announced_vlans(assignment.port, reader)
    if journal is None:  # nothing is held back from a NIC that the guest has nowhere else
        if sole_target is None:
            return None
        return NodeHandoff(migration=sole_target.migration, role="Target", guest_running=True, vlans=vlans)
    path = _path(node, assignment, journal, reader)
    if node == journal.source:
        return NodeHandoff(
            migration=journal.migration, role="Source", pod=journal.pod, release_requested=assignment.release, path=path
        )
    return NodeHandoff(
        migration=journal.migration, role="Target", guest_running=journal.ready is not None, path=path, vlans=vlans
    )


def announced_vlans(port_key: str, reader: Reader) -> tuple[int, ...]:
    """Those of a port's trunks that are the physical network's own; none where they are too many to be told of."""
    port = reader.get(PORTS, ObjectKey.named("Port", port_key))
    subnet = subnet_of(subnet_key(port.spec.subnet), reader) if port else None
    if port is None or subnet is None or not subnet.spec.underlay or subnet.spec.vlan:
        return ()
    found = tuple(chain.from_iterable(trunk_vlans(port, subnet)))
    return found if len(found) <= MOST_VLANS else ()


def _path(node: str, assignment: HandoffAssignment, journal: HandoffJournal, reader: Reader) -> HandoffPath | None:
    """The way to the other node; None where there is no gate, or too little is known of one of them."""
    source, target = (node_chassis(name, reader) for name in (journal.source, journal.target))
    keys = assignment.tunnel_keys
    if journal.fallback_reason or keys is None or source is None or target is None:
        return None
    if not all(end.encap_ip and end.public_key for end in (source, target)):
        return None
    other = target if node == journal.source else source
    return HandoffPath(remote=other.encap_ip, datapath=keys[0], port=keys[1], peer_key=other.public_key)


NODE_NETWORK = Feature(
    model=NodeNetwork, collection=NODE_NETWORKS, compile=compile_node_network, report=report_node_network
)

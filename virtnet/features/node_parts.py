"""What the features read of nodes: of each NodeNetwork the parts that one thing or another depends on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from virtnet.api import NodeConflict, NodeHandoff, NodeHandoffStatus, NodeNetwork
from virtnet.api.addresses import seen
from virtnet.api.grammar import CHASSIS_NAME, HOST_IP, PUBLIC_KEY
from virtnet.engine.collection import Collection, Projection
from virtnet.engine.keys import ObjectKey
from virtnet.features.node_addresses import NODE_ADDRESSES, NodeAddresses
from virtnet.handoff.strategies import strongest


@dataclass(frozen=True)
class NodeChassis:
    """What a Port's handoff has to know of a node."""

    node: str
    chassis: str
    fallback_reason: str
    """Why it has no gates for guests that are to arrive; empty where it has."""
    strategy: str
    """What OVN there can do in place of a gate."""
    encap_ip: str
    """The address of its tunnels; empty where it tells none."""
    public_key: str
    """What the other node of a handoff agrees on a secret by; empty where it tells none."""
    former: tuple[str, ...] = ()
    """The chassis that it was before."""


def _chassis(key: ObjectKey, node: NodeNetwork) -> Mapping[ObjectKey, NodeChassis]:
    status, support = node.status, node.status.handoff
    if not CHASSIS_NAME.permits(status.chassis) or not status.chassis:  # OVN reads one with a comma as two
        return {}
    fallback = "" if support.gate else support.gate_message or f"{node.name} does not say that it can"
    encap = next(filter(HOST_IP.permits, status.encap_ips), "")
    public_key = support.public_key if PUBLIC_KEY.permits(support.public_key) else ""
    former = tuple(one for one in status.former_chassis if one != status.chassis)
    found = NodeChassis(node.name, status.chassis, fallback, strongest(status.ovn_version), encap, public_key, former)
    return {ObjectKey("NodeChassis", "", key.name): found}


@dataclass(frozen=True)
class OfPort:
    """Something that one node has to do with one Port."""

    node: str
    port: str
    """The Port's key, ``namespace/name``."""


@dataclass(frozen=True)
class NodeReport(OfPort):
    """What a node says of its part in a handoff."""

    said: NodeHandoffStatus


@dataclass(frozen=True)
class HandoffRequest(OfPort):
    """What a node has been asked to do in a handoff."""

    request: NodeHandoff


@dataclass(frozen=True)
class OutsideConflict(OfPort):
    """A machine outside that has an address of a NIC, so that the node does not attach it."""

    conflict: NodeConflict


@dataclass(frozen=True)
class SeenAddresses(OfPort):
    """What a NIC's guest has said on a node that it has."""

    addresses: tuple[str, ...]


def _by_port(one: OfPort) -> Iterable[str]:
    return [one.port]


NODE_CHASSIS: Collection[NodeChassis] = Collection("NodeChassis", indexes={"chassis": lambda one: [one.chassis]})
HANDOFF_REPORTS: Collection[NodeReport] = Collection("HandoffReport", indexes={"port": _by_port}, urgent=True)
HANDOFF_REQUESTS: Collection[HandoffRequest] = Collection("HandoffRequest", indexes={"port": _by_port}, urgent=True)
SEEN_ADDRESSES: Collection[SeenAddresses] = Collection("SeenAddresses", indexes={"port": _by_port})
OUTSIDE_CONFLICTS: Collection[OutsideConflict] = Collection("OutsideConflict", indexes={"port": _by_port})

NODE_NETWORKS: Collection[NodeNetwork] = Collection(
    "NodeNetwork",
    relevant=lambda node: (
        node.spec,
        node.status.chassis,
        node.status.former_chassis,
        node.status.encap_ips,
        node.status.tunnel_mtu,
        node.status.provider_networks,
        node.status.nic_policies,
    ),
    projections=(
        Projection(NODE_CHASSIS, _chassis),
        Projection(NODE_ADDRESSES, lambda key, node: {NODE_ADDRESSES.key(key.name): NodeAddresses.of_node(node)}),
        Projection(
            HANDOFF_REPORTS,
            lambda key, node: {
                ObjectKey("HandoffReport", key.name, port): NodeReport(key.name, port, said)
                for port, said in node.status.handoffs.items()
            },
        ),
        Projection(
            HANDOFF_REQUESTS,
            lambda key, node: {
                ObjectKey("HandoffRequest", key.name, port): HandoffRequest(key.name, port, request)
                for port, request in node.spec.handoffs.items()
            },
        ),
        Projection(
            OUTSIDE_CONFLICTS,
            lambda key, node: {
                ObjectKey("OutsideConflict", key.name, port): OutsideConflict(key.name, port, conflict)
                for port, conflict in node.status.conflicts.items()
            },
        ),
        Projection(
            SEEN_ADDRESSES,
            lambda key, node: {
                ObjectKey("SeenAddresses", key.name, port): SeenAddresses(key.name, port, seen(addresses))
                for port, addresses in node.status.seen_addresses.items()
            },
        ),
    ),
)

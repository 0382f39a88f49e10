"""Nodes and chassis that are at odds: OVN takes two nodes with one chassis name for one machine, and no chassis with
the tunnels' address of another.
"""

from collections.abc import Iterator

from virtnet.api.node_network import CHASSIS_MISSING
from virtnet.engine.graph import Reader
from virtnet.engine.outcome import ConditionState
from virtnet.features.node_parts import NODE_CHASSIS, NodeChassis
from virtnet.features.ovn_state import CHASSIS
from virtnet.features.sources import NODES

CHASSIS_CONFLICT = "ChassisConflict"
"""Condition of a NodeNetwork and reason of an Event."""


def chassis_state(node: str, reader: Reader) -> ConditionState:
    """Whether another node has the chassis name of this one."""
    own = reader.get(NODE_CHASSIS, NODE_CHASSIS.key(node))
    same = reader.by(NODE_CHASSIS, "chassis", own.chassis) if own else []
    others = sorted(one.node for one in same if one.node != node)
    if own is None or not others:
        return ConditionState(CHASSIS_CONFLICT, holds=False, reason="Unique", announced=True)
    shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    message = (
        f"{node} has the external_ids:system-id of {shown}, {own.chassis}, and OVN takes them for one machine; give "
        "each its own in /etc/openvswitch/system-id.conf, and restart Open vSwitch and ovn-controller"
    )
    return ConditionState(CHASSIS_CONFLICT, holds=True, reason="SystemIdShared", message=message, announced=True)


def stale_chassis(node: str, reader: Reader) -> Iterator[tuple[str, str]]:
    """Chassis that have the tunnels' address of this node and are no node any more, with that address.

    OVN takes no chassis whose address another has: a node that was installed anew, or got a dead one's address, would
    never be let in.
    """
    own = reader.get(NODE_CHASSIS, NODE_CHASSIS.key(node))
    if own is None or reader.get(NODES, NODES.key(node)) is None:
        return
    for name in _others_with(own, reader):
        if not any(one.node != node and _is_there(one.node, reader) for one in _named(name, reader)):
            yield name, own.encap_ip


def former_chassis(node: str, reader: Reader) -> Iterator[tuple[str, str]]:
    """Chassis that this node was before it was installed anew and that no node is any more, with an address of each.

    Nobody else takes them out of OVN, whose other nodes keep tunnels to them.
    """
    own = reader.get(NODE_CHASSIS, NODE_CHASSIS.key(node))
    if own is None or reader.get(NODES, NODES.key(node)) is None:
        return
    for name in own.former:
        known = reader.get(CHASSIS, CHASSIS.key(name))
        if known is None or not known.addresses or own.encap_ip in known.addresses:  # the last: it is stale_chassis'
            continue
        if not any(_is_there(one.node, reader) for one in _named(name, reader)):
            yield name, min(known.addresses)


def missing_state(node: str, reader: Reader) -> ConditionState:
    """Whether OVN lacks the chassis of this node, so that no port can be bound there."""
    own = reader.get(NODE_CHASSIS, NODE_CHASSIS.key(node))
    if own is None or reader.get(CHASSIS, CHASSIS.key(own.chassis)) is not None:
        return ConditionState(CHASSIS_MISSING, holds=False, reason="Known")
    message = f"OVN has no chassis {own.chassis}; is ovn-controller running on {node}, with this OVN's ovn-remote?"
    holders = sorted(
        f"{one.node} ({name})" for name in _others_with(own, reader) for one in _named(name, reader) if one.node != node
    )
    if holders:
        message = (
            f"OVN has no chassis {own.chassis}: its address {own.encap_ip} is that of {', '.join(holders)}; give each "
            "its own, or delete the Node that is gone"
        )
    return ConditionState(CHASSIS_MISSING, holds=True, reason="NotInOvn", message=message)


def _others_with(own: NodeChassis, reader: Reader) -> list[str]:
    """The chassis that have a node's address and are not its own."""
    if not own.encap_ip:
        return []
    return [one.name for one in reader.by(CHASSIS, "address", own.encap_ip) if one.name != own.chassis]


def _named(chassis: str, reader: Reader) -> list[NodeChassis]:
    """The nodes that say to be this chassis."""
    return reader.by(NODE_CHASSIS, "chassis", chassis)


def _is_there(node: str, reader: Reader) -> bool:
    """Whether the cluster has this node; a NodeNetwork may outlast it."""
    return reader.get(NODES, NODES.key(node)) is not None

"""What all nodes say together. Every look at a Port asks for it, so it is summed up once for each change of a node."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from virtnet.api import NodeHandoffStatus, NodeNetwork
from virtnet.handoff.facts import Told
from virtnet.handoff.strategies import strongest


@dataclass(frozen=True)
class Fleet:
    """All nodes at one moment."""

    chassis: Mapping[str, str]
    """Node name -> chassis name, of the nodes that have said theirs."""
    names: Mapping[str, str]
    """Chassis name -> node name."""
    gateless: Mapping[str, str]
    """Node name -> why it has no gates for guests that are to arrive."""
    strategies: Mapping[str, str]
    """Node name -> what OVN there can do in place of a gate."""
    told: Mapping[str, Mapping[str, Told]]
    """Port -> UID of the migration -> what the two nodes of each of its handoffs have told of it."""

    @classmethod
    def of(cls, nodes: Iterable[NodeNetwork]) -> Self:
        chassis: dict[str, str] = {}
        gateless: dict[str, str] = {}
        strategies: dict[str, str] = {}
        told: dict[str, dict[str, Told]] = {}
        for node in nodes:
            status = node.status
            if status.chassis:
                chassis[node.name] = status.chassis
            if not status.handoff.gate:
                gateless[node.name] = status.handoff.gate_message or f"{node.name} does not say that it can"
                strategies[node.name] = strongest(status.ovn_version)
            for port, said in status.handoffs.items():
                migrations = told.setdefault(port, {})
                migrations[said.migration] = _both(said, migrations.get(said.migration, Told()))
        return cls(chassis, {name: node for node, name in chassis.items()}, gateless, strategies, told)


def _both(said: NodeHandoffStatus, other: Told) -> Told:
    """What one node says, and the other has said."""
    return Told(
        opened=said.opened_at or other.opened,
        asked=said.asked_at or other.asked,
        answered=said.answered_at or other.answered,
        carried=said.carried if said.carried is not None else other.carried,
        undrained=said.undrained or other.undrained,
    )

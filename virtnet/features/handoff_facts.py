"""What a port's handoff is decided from: the VM's instance, pods and migrations, OVN's binding, what nodes report."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from virtnet.addressing.held import HeldAddress
from virtnet.api import NodeHandoffStatus, Port
from virtnet.api.nic_kinds import LINKED_NICS
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.features.node_parts import HANDOFF_REPORTS, NODE_CHASSIS, NodeChassis
from virtnet.features.ovn_state import BINDINGS
from virtnet.features.sources import INSTANCES, MIGRATIONS, PODS, port_owner
from virtnet.handoff.facts import Binding, Facts, HandoffReport
from virtnet.handoff.options import ChassisOptions
from virtnet.topology.chassis import read_chassis
from virtnet.topology.names import port_key, switch_key
from virtnet.topology.rows import Row
from virtnet.topology.tables import UNKNOWN


def facts_of(port: Port, observed: Iterable[Row], reader: Reader) -> Facts:
    """All facts of one port. ``observed``: its rows as OVN has them."""
    pods = tuple(replace(pod.launcher, nic=pod.has(port.key)) for pod in reader.by(PODS, "owner", port_owner(port)))
    instance = instance_key(port)
    nodes = {pod.node: found for pod in pods if pod.node and (found := node_chassis(pod.node, reader))}
    bound = reader.get(BINDINGS, ObjectKey.of(port))
    return Facts(
        instance=reader.get(INSTANCES, instance) if instance else None,
        link=port.spec.nic in LINKED_NICS,
        pods=pods,
        migrations=tuple(one.migration for one in reader.by(MIGRATIONS, "instance", instance)) if instance else (),
        binding=bound.binding if bound else Binding(),
        options=options_of(port.key, observed),
        chassis={name: node.chassis for name, node in nodes.items()},
        fallback_reasons={name: node.fallback_reason for name, node in nodes.items() if node.fallback_reason},
        strategies={name: node.strategy for name, node in nodes.items() if node.fallback_reason},
        reports=reports_of(port.key, reader),
        now=reader.now,
    )


def instance_key(port: Port) -> ObjectKey | None:
    """The VirtualMachineInstance whose NIC it is; None for an ordinary pod's."""
    owner = port.spec.owner
    return ObjectKey(INSTANCES.kind, port.namespace, owner.name) if owner.kind != "Pod" else None


def node_chassis(node: str, reader: Reader) -> NodeChassis | None:
    """A node's chassis; None where the node has not said which it has."""
    return reader.get(NODE_CHASSIS, NODE_CHASSIS.key(node))


def row_of(port: str, observed: Iterable[Row]) -> Row | None:
    """The logical switch port of a Port ``namespace/name`` among its rows."""
    key = port_key(port)
    return next((row for row in observed if row.key == key), None)


def addresses_of(port: str, observed: Iterable[Row]) -> frozenset[str]:
    """The addresses, MAC and IPs, that OVN has on a Port ``namespace/name``."""
    row = row_of(port, observed)
    entries = row.columns["addresses"] if row else ()
    return (
        frozenset(address for entry in entries - {UNKNOWN} for address in str(entry).split())
        if isinstance(entries, frozenset)
        else frozenset()
    )


def leases_in_use(port: str, observed: Iterable[Row], leases: Iterable[HeldAddress]) -> frozenset[str]:
    """The names of those of the leases whose addresses OVN has on a Port ``namespace/name``, in the lease's Subnet.

    A NIC that was moved may have the same addresses in another Subnet.
    """
    row, held = row_of(port, observed), addresses_of(port, observed)
    switch = row.parent.key if row and row.parent else None
    return frozenset(one.name for one in leases if one.address in held and switch_key(one.subnet) == switch)


def options_of(port: str, observed: Iterable[Row]) -> ChassisOptions:
    """What a port says about chassis now."""
    row = row_of(port, observed)
    return read_chassis(row, ChassisOptions) if row else ChassisOptions()


def reports_of(port: str, reader: Reader) -> Mapping[str, HandoffReport]:
    """What the two nodes of each of a port's handoffs report of it, by the migration's UID."""
    found: dict[str, HandoffReport] = {}
    for report in reader.by(HANDOFF_REPORTS, "port", port):
        said = report.said
        found[said.migration] = _both(said, found.get(said.migration, HandoffReport()))
    return found


def _both(said: NodeHandoffStatus, other: HandoffReport) -> HandoffReport:
    """What one node says, and the other has said."""
    return HandoffReport(
        gate_opened=said.gate_opened_at or other.gate_opened,
        probed=said.probed_at or other.probed,
        answered=said.answered_at or other.answered,
        forwarded_frames=said.forwarded_frames if said.forwarded_frames is not None else other.forwarded_frames,
        drain_error=said.drain_error or other.drain_error,
    )

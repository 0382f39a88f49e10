"""NICs that no switch of OVN's has, such as virtual functions: where one is, and what keeps it to its addresses."""

from virtnet.api import Port
from virtnet.engine.graph import Reader
from virtnet.engine.outcome import ConditionState
from virtnet.features.handoff_facts import instance_key
from virtnet.features.obstacles import subnet_of
from virtnet.features.sources import INSTANCES, PODS, port_owner, subnet_key
from virtnet.topology.port import is_exempt

UNCHECKED = "AddressesUnchecked"
"""Condition of a Port: OVN sees nothing of what its guest sends."""


def node_of_external(port: Port, reader: Reader) -> str:
    """The node of the pod that has the NIC; while its guest moves, the one that the guest is on; empty for none.

    OVN answers for it from another node, and does not know.
    """
    pods = reader.by(PODS, "owner", port_owner(port))
    having = [pod.launcher for pod in pods if pod.has(port.key) and pod.launcher.node and not pod.launcher.terminal]
    instance = instance_key(port)
    running = reader.get(INSTANCES, instance) if instance else None
    nodes = [pod.node for pod in sorted(having, key=lambda pod: bool(pod.migration))]
    return running.node if running is not None and running.node in nodes else next(iter(nodes), "")


def unchecked_state(port: Port, reader: Reader, *, external: bool) -> ConditionState:
    """Whether a NIC may send from other addresses than its own though its Subnet lets no NIC do so."""
    subnet = subnet_of(subnet_key(port.spec.subnet), reader) if external else None
    if subnet is None or is_exempt(port, subnet):
        return ConditionState(UNCHECKED, holds=False, reason="Checked", message="")
    check = (settings := subnet.spec.virtual_functions) and settings.spoof_check
    if check is False:
        reason, message = (
            "SpoofCheckOff",
            f"{subnet.ref} has spoofCheck off, so that the guest may send from any MAC too",
        )
    elif check:
        reason, message = "SpoofCheckOnly", "its NIC's spoof check holds the guest to its MAC"
    else:
        reason, message = "SpoofCheckUnset", f"whether it checks MACs, its driver says: {subnet.ref} sets no spoofCheck"
    return ConditionState(
        UNCHECKED, holds=True, reason=reason, message=f"OVN does not see what a virtual function sends: {message}"
    )

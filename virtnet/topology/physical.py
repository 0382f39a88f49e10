"""Which NIC of which node is plugged into which ProviderNetwork."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from virtnet.api import NodeFailure, ProviderNetwork, ProviderNetworkSpec
from virtnet.api.grammar import INTERFACE_NAME


@dataclass(frozen=True)
class NicAssignment:
    """The NICs by node and ProviderNetwork, and what could not be had, by ProviderNetwork."""

    nics: dict[str, dict[str, str]] = field(default_factory=dict)
    clashes: dict[str, list[NodeFailure]] = field(default_factory=dict)


def nic_on(spec: ProviderNetworkSpec, node: str, labels: Mapping[str, str]) -> str:
    """The NIC that reaches a ProviderNetwork from a node; empty where the node does not have the network."""
    if node in spec.exclude_nodes or any(labels.get(key) != value for key, value in spec.node_selector.items()):
        return ""
    return next((custom.nic for custom in spec.custom_nics if node in custom.nodes), spec.default_nic)


def assign(networks: Iterable[ProviderNetwork], nodes: Mapping[str, Mapping[str, str]]) -> NicAssignment:
    """All NICs. Of two ProviderNetworks that want one NIC of a node, the elder has it. ``nodes``: labels by name."""
    found = NicAssignment({node: {} for node in nodes}, {})
    elder_first = sorted(networks, key=lambda one: (str(one.metadata.creation_timestamp or "~"), one.name))
    for network in elder_first:
        for node, labels in nodes.items():
            nic = nic_on(network.spec, node, labels)
            if not nic:
                continue
            failure = _failure(node, nic, found.nics[node])
            if failure is None:
                found.nics[node][network.name] = nic
            else:
                found.clashes.setdefault(network.name, []).append(failure)
    return found


def _failure(node: str, nic: str, held: Mapping[str, str]) -> NodeFailure | None:
    """Why a node is not asked for a NIC. ``held``: the NICs that it is asked for already, by ProviderNetwork."""
    if not INTERFACE_NAME.permits(nic):  # stored before it was refused, and reason enough for a node to do nothing
        return NodeFailure(node=node, nic=nic, reason="Invalid", message=f"{nic!r} {INTERFACE_NAME.must}")
    holder = next((name for name, other in held.items() if other == nic), "")
    if not holder:
        return None
    message = f"{nic} is ProviderNetwork {holder}'s; use one network with several VLANs, or another NIC"
    return NodeFailure(node=node, nic=nic, reason="NicTaken", message=message)

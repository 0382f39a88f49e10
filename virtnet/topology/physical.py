"""Which NIC of which node is plugged into which ProviderNetwork."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from virtnet.api import NodeFailure, ProviderNetwork, ProviderNetworkSpec


@dataclass(frozen=True)
class Assignment:
    """The NICs by node and ProviderNetwork, and what could not be had, by ProviderNetwork."""

    nics: dict[str, dict[str, str]] = field(default_factory=dict)
    clashes: dict[str, list[NodeFailure]] = field(default_factory=dict)


def nic_on(spec: ProviderNetworkSpec, node: str, labels: Mapping[str, str]) -> str:
    """The NIC that reaches a ProviderNetwork from a node; empty where the node does not have the network."""
    if node in spec.exclude_nodes or any(labels.get(key) != value for key, value in spec.node_selector.items()):
        return ""
    return next((custom.nic for custom in spec.custom_nics if node in custom.nodes), spec.default_nic)


def assign(networks: Iterable[ProviderNetwork], nodes: Mapping[str, Mapping[str, str]]) -> Assignment:
    """All NICs. Of two ProviderNetworks that want one NIC of a node, the elder has it. ``nodes``: labels by name."""
    found = Assignment({node: {} for node in nodes}, {})
    elder_first = sorted(networks, key=lambda one: (str(one.metadata.creation_timestamp or "~"), one.name))
    for network in elder_first:
        if network.metadata.deletion_timestamp is not None:
            continue
        for node, labels in nodes.items():
            nic = nic_on(network.spec, node, labels)
            if not nic:
                continue
            holder = next((name for name, held in found.nics[node].items() if held == nic), "")
            if holder:
                message = f"{nic} is ProviderNetwork {holder}'s; use one network with several VLANs, or another NIC"
                failure = NodeFailure(node=node, nic=nic, reason="NicTaken", message=message)
                found.clashes.setdefault(network.name, []).append(failure)
            else:
                found.nics[node][network.name] = nic
    return found

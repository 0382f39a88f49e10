"""ProviderNetwork: which NIC of which node reaches a physical network, and how that is doing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from virtnet.api import NodeFailure, NodeProviderNetwork, ProviderNetwork, ProviderNetworkSpec
from virtnet.engine.feature import Feature, Invalid
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import Announcement, Report, not_ready, ready
from virtnet.engine.selector import Selector
from virtnet.features.node_parts import NODE_NETWORKS
from virtnet.features.sources import CLUSTER_SUBNETS, NODES, PROVIDER_NETWORKS
from virtnet.topology.physical import assign, nic_on

KEPT_FAILURES = 256
WAITING = "Waiting"


@dataclass(frozen=True)
class NodeNics:
    """The NICs of one node by ProviderNetwork, and what could not be had."""

    nics: Mapping[str, str] = field(default_factory=dict)
    clashes: Mapping[str, Sequence[NodeFailure]] = field(default_factory=dict)


def node_nics(node: ObjectKey, reader: Reader) -> NodeNics:
    """What one Node is to plug in; to be derived."""
    found = reader.get(NODES, node)
    if found is None:
        return NodeNics()
    networks = [
        one for one in reader.every(PROVIDER_NETWORKS) if not one.deleting or provider_network_in_use(one, reader)
    ]
    assignment = assign(networks, {node.name: found.labels})
    return NodeNics(assignment.nics[node.name], assignment.clashes)


def report_provider_network(key: ObjectKey, reader: Reader) -> Report | None:
    network = reader.whole(PROVIDER_NETWORKS, key)
    if network is None:
        return None
    selected = reader.matching(NODES, None, Selector.of(network.spec.node_selector))
    plans = {node.name: reader.derive(node_nics, NODES.key(node.name)) for node in selected}
    nics = {node: plan.nics[key.name] for node, plan in plans.items() if key.name in plan.nics}
    clashes = [failure for plan in plans.values() for failure in plan.clashes.get(key.name, ())]
    nodes = (reader.get(NODE_NETWORKS, NODE_NETWORKS.key(node)) for node in nics)
    reported = {
        node.name: node.status.provider_networks[key.name]
        for node in nodes
        if node is not None and key.name in node.status.provider_networks
    }
    return summary(network, nics, reported, clashes)


def summary(
    network: ProviderNetwork,
    nics: Mapping[str, str],
    reported: Mapping[str, NodeProviderNetwork],
    clashes: Sequence[NodeFailure],
) -> Report:
    """How a ProviderNetwork is doing. By node: the NIC that it is to use, and what it has answered."""
    answers = {node: _failure(node, nic, reported.get(node)) for node, nic in sorted(nics.items())}
    plugged = tuple(node for node, failure in answers.items() if failure is None)
    failures = (*clashes, *filter(None, answers.values()))
    if failures:
        more = f"; and on {len(failures) - 1} more" if len(failures) > 1 else ""
        state = not_ready(failures[0].reason, f"{failures[0].node}: {failures[0].message}{more}")
    elif plugged:
        state = ready("Plugged")
    else:
        state = not_ready("NoNodes", "no node has this network: see nodeSelector and excludeNodes")
    before = {(failure.node, failure.reason) for failure in network.status.failures}
    news = (one for one in failures if one.reason != WAITING and (one.node, one.reason) not in before)
    return Report(
        (state,),
        {
            "nodes": len(plugged) + len(failures),
            "ready": len(plugged),
            "ready_nodes": plugged,
            "failures": failures[:KEPT_FAILURES],
        },
        announcements=tuple(Announcement(one.reason, f"{one.node}: {one.message}", warning=True) for one in news),
    )


def _failure(node: str, nic: str, reported: NodeProviderNetwork | None) -> NodeFailure | None:
    """Why a node does not have the network on the NIC that it is to use; None where it has."""
    if reported is None or (reported.ready and reported.nic != nic):
        message = f"virtnet-node on {node} has not answered yet; does its pod run there?"
        return NodeFailure(node=node, nic=nic, reason=WAITING, message=message)
    return None if reported.ready else NodeFailure(node=node, nic=nic, reason=reported.reason, message=reported.message)


def provider_network_in_use(network: ProviderNetwork, reader: Reader) -> str:
    subnets = reader.by(CLUSTER_SUBNETS, "provider_network", network.name)
    return f"{len(subnets)} ClusterSubnets, one of them {subnets[0].name}" if subnets else ""


def check_provider_network(new: ProviderNetwork, old: ProviderNetwork | None, reader: Reader) -> Sequence[str]:
    """Refuse what would leave a node in doubt about a NIC.

    A NIC that another one has already on a node, before the change too, is no reason: the status says so.
    """
    _refuse_nodes_named_twice(new)
    others = [
        other
        for other in reader.every(PROVIDER_NETWORKS)
        if other.name != new.name and _nics(other.spec) & _nics(new.spec)
    ]
    for node in reader.every(NODES) if others else ():
        nic = nic_on(new.spec, node.name, node.labels)
        if not nic or (old is not None and nic_on(old.spec, node.name, node.labels) == nic):
            continue
        for other in others:
            if nic_on(other.spec, node.name, node.labels) == nic:
                raise Invalid(
                    f"ProviderNetwork {new.name}: {nic} of node {node.name} is ProviderNetwork {other.name}'s; "
                    "use one network with several VLANs, or another NIC",
                    code=409,
                )
    return ()


def _refuse_nodes_named_twice(network: ProviderNetwork) -> None:
    seen: dict[str, str] = {}
    for custom in network.spec.custom_nics:
        for node in custom.nodes:
            if node in seen:
                raise Invalid(
                    f"ProviderNetwork {network.name}: customNics: node {node} is named for {seen[node]} and for "
                    f"{custom.nic}; keep one of them"
                )
        seen |= dict.fromkeys(custom.nodes, custom.nic)


def _nics(spec: ProviderNetworkSpec) -> set[str]:
    return {spec.default_nic, *(custom.nic for custom in spec.custom_nics)}


PROVIDER_NETWORK = Feature(
    model=ProviderNetwork,
    collection=PROVIDER_NETWORKS,
    report=report_provider_network,
    check=check_provider_network,
    check_reads=(NODES,),
    in_use=provider_network_in_use,
)

"""Validating ProviderNetworks: which nodes two of them have in common, and who still needs one."""

from collections.abc import Iterator, Mapping
from typing import Any

from virtnet.addressing.wants import Refused
from virtnet.api import ClusterSubnet, ProviderNetwork, ProviderNetworkSpec
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.topology.physical import nic_on

PROVIDER_NETWORKS, CLUSTER_SUBNETS = kinds.of(ProviderNetwork), kinds.of(ClusterSubnet)

Labels = Mapping[str, Mapping[str, str]]
"""Of all nodes, by name."""


class ProviderNetworkChecker:
    """Refuses what would leave a node in doubt about a NIC. Asks the API server: this is rare, and memory is late."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def check(self, body: Mapping[str, Any], old: Mapping[str, Any] | None) -> None:
        """A ProviderNetwork that is created or changed. Raises Refused and ApiError.

        A NIC that another one has already on a node, before the change too, is no reason: the status says so.
        """
        network = ProviderNetwork.parse(body)
        before = ProviderNetwork.parse(old).spec if old is not None else None
        seen: dict[str, str] = {}
        for custom in network.spec.custom_nics:
            for node in custom.nodes:
                if node in seen:
                    raise Refused(
                        f"ProviderNetwork {network.name}: customNics: node {node} is named for {seen[node]} and for "
                        f"{custom.nic}; keep one of them"
                    )
            seen |= dict.fromkeys(custom.nodes, custom.nic)
        others, _ = await self._cluster.list(PROVIDER_NETWORKS)
        rivals = [
            other
            for other in map(ProviderNetwork.parse, others)
            if other.name != network.name and nics(other.spec) & nics(network.spec)
        ]
        labels = await self._labels() if rivals else {}
        for other in rivals:
            for node, nic in shared(network.spec, other.spec, labels):
                if before is None or nic_on(before, node, labels[node]) != nic:
                    raise Refused(
                        f"ProviderNetwork {network.name}: {nic} of node {node} is ProviderNetwork {other.name}'s; "
                        "use one network with several VLANs, or another NIC",
                        code=409,
                    )

    async def check_deletion(self, body: Mapping[str, Any]) -> None:
        """A ProviderNetwork that is deleted. Raises Refused while a ClusterSubnet is on it, and ApiError."""
        name = body["metadata"]["name"]
        found, _ = await self._cluster.list(CLUSTER_SUBNETS)
        users = sorted(one["metadata"]["name"] for one in found if one["spec"].get("providerNetwork") == name)
        if users:
            raise Refused(
                f"ProviderNetwork {name} is in use: {len(users)} ClusterSubnets, one of them {users[0]}; "
                "delete them first, or give them another providerNetwork",
                code=409,
            )

    async def _labels(self) -> Labels:
        nodes, _ = await self._cluster.list(kinds.NODES)
        return {node["metadata"]["name"]: node["metadata"].get("labels") or {} for node in nodes}


def nics(spec: ProviderNetworkSpec) -> set[str]:
    return {spec.default_nic, *(custom.nic for custom in spec.custom_nics)}


def shared(one: ProviderNetworkSpec, other: ProviderNetworkSpec, nodes: Labels) -> Iterator[tuple[str, str]]:
    """The nodes on which both want the same NIC, and that NIC."""
    for node, labels in nodes.items():
        nic = nic_on(one, node, labels)
        if nic and nic == nic_on(other, node, labels):
            yield node, nic

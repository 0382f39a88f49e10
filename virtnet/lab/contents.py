"""What a lab's API server is given at the start: kinds, rights, nodes, and where its webhooks are."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from virtnet.kube.client import Cluster
from virtnet.kube.kinds import NODES
from virtnet.lab import manifests
from virtnet.lab.dpdk import LABEL
from virtnet.lab.names import CENTRAL_ADDRESS, NAMESPACE, WEBHOOK_PORT, NodeNames
from virtnet.lab.nodes import Node
from webhooks.manifests import configurations

REPOSITORY = Path(__file__).parents[2]


async def definitions(cluster: Cluster) -> None:
    """Every kind, the product's namespace, and the rights of its processes, as on any cluster."""
    found = manifests.read(manifests.FOREIGN_CRDS, REPOSITORY / "crds", REPOSITORY / "manifests" / "rbac")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    await manifests.apply(cluster, [namespace, *(doc for doc in found if doc["kind"] != "Kustomization")])


async def nodes(cluster: Cluster, found: Iterable[Node]) -> None:
    """Node objects, as kubelets make them."""
    for node in found:
        await cluster.create(NODES, _node(node))
        await cluster.patch(NODES, node.name, {"status": _status(node.names)}, subresource="status")


async def webhooks(cluster: Cluster, authority: bytes) -> None:
    """From now on the webhook is asked."""
    url = f"https://{CENTRAL_ADDRESS}:{WEBHOOK_PORT}"
    await manifests.apply(cluster, configurations(url=url, ca_bundle=authority))


def _node(node: Node) -> dict[str, Any]:
    labels = {"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux", "kubevirt.io/schedulable": "true"}
    if node.dpdk:
        labels[LABEL] = "true"
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name, "labels": labels}}


def _status(node: NodeNames) -> dict[str, Any]:
    room = {"cpu": "16", "memory": "64Gi", "pods": "250"}
    return {
        "capacity": room,
        "allocatable": room,
        "addresses": [
            {"type": "InternalIP", "address": node.management_address},
            {"type": "Hostname", "address": node.name},
        ],
        "conditions": [{"type": "Ready", "status": "True", "reason": "LabNode", "message": "plays a node in the lab"}],
    }

"""The API server, with the two verbs that only schedulers and kubelets need."""

from typing import Any

from virtnet.kube.client import Cluster
from virtnet.kube.kinds import PODS

Object = dict[str, Any]


class StandinCluster(Cluster):
    """What the stand-in talks to."""

    async def bind(self, pod: Object, node: str) -> None:
        """Place a pod, as a scheduler does. Raises Conflict when it has a node already."""
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self._transport.request("POST", PODS.path(namespace, name, "binding"), body=body)

    async def forget(self, pod: Object) -> None:
        """Remove a pod's object for good, as its kubelet does when nothing of it is left. Raises NotFound."""
        metadata = pod["metadata"]
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": metadata["uid"]},
        }
        path = PODS.path(metadata["namespace"], metadata["name"])
        await self._transport.request("DELETE", path, body=body)

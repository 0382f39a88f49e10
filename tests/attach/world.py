"""A node whose daemon speaks with an API server, and what the controller would write there."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.attach.rig import SECONDS, Node, eventually
from tests.attach.samples import pod_body
from virtnet.api import NodeNetwork, SubnetRef
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound
from virtnet.lab import netns

NODES = kinds.of(NodeNetwork)


@dataclass
class World:
    """A node whose daemon speaks with an API server."""

    node: Node
    cluster: Cluster
    kubeconfig: str

    @property
    def port(self) -> str:
        """The one port, of the namespace of all pods: a node attaches no pod to another namespace's."""
        return f"{self.node.namespace}/db.blue"

    async def own(self) -> NodeNetwork:
        return NodeNetwork.parse(await self.cluster.get(NODES, self.node.name))

    async def until(self, holds: Callable[[NodeNetwork], object], what: str) -> NodeNetwork:
        """The NodeNetwork once this holds of it."""
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    found = await self.own()
                    if holds(found):
                        return found
                except NotFound:
                    pass
                await asyncio.sleep(0.02)

    async def ask(self, **part: Any) -> None:
        """What the controller writes for the port; nothing takes it back."""
        patch = {"spec": {"handoffs": {self.port: part or None}}}
        await self.cluster.patch(NODES, self.node.name, patch)

    async def pod(self, name: str, **given: Any) -> str:
        subnet = SubnetRef(kind="Subnet", namespace=self.node.namespace, name="blue")
        body = pod_body(name, port=self.port, subnet=subnet, **given)
        metadata = {key: value for key, value in body["metadata"].items() if key != "uid"}
        spec = {"containers": [{"name": "compute", "image": "none"}]}
        made = await self.cluster.create(
            kinds.PODS,
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {**metadata, "namespace": self.node.namespace},
                "spec": spec,
            },
            self.node.namespace,
        )
        return str(made["metadata"]["uid"])

    async def add(self, container: str, **given: Any) -> str:
        """A pod with its NIC; returns its network namespace."""
        uid = await self.pod(container, **given)
        sandbox = self.node.sandbox()
        await asyncio.to_thread(self.node.add, container, netns=sandbox, pod=container, uid=uid)
        return sandbox

    async def end(self, pod: str) -> None:
        status = {"status": {"phase": "Succeeded"}}
        await self.cluster.patch(kinds.PODS, pod, status, self.node.namespace, subresource="status")

    def put(self, *frames: bytes) -> None:
        """To the guest, as OVS does."""

        def work() -> None:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
                link.bind((self.node.links()[0], 0))
                for one in frames:
                    link.send(one)

        netns.inside(self.node.name, work)

    def restart(self, **environment: str) -> None:
        self.node.restart_daemon(KUBECONFIG=self.kubeconfig, **environment)


async def eventually_async(holds: Callable[[], object], what: str) -> None:
    await asyncio.to_thread(eventually, holds, what)

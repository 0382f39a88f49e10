"""Nodes are told of their NICs, and a ProviderNetwork says how they do, as soon as something has changed."""

import pytest

from tests.controllers.conftest import SECONDS, World, until
from virtnet.api import NodeNetwork, ProviderNetwork
from virtnet.controllers.controller import AUDIT_EVERY
from virtnet.kube import kinds

pytestmark = pytest.mark.system

NETWORKS, NODE_NETWORKS = kinds.of(ProviderNetwork), kinds.of(NodeNetwork)


async def test_every_change_is_followed_at_once(world: World) -> None:
    assert AUDIT_EVERY.total_seconds() > SECONDS  # so it is events that make it so
    name, node, labels = f"p{world.namespace[:8]}", f"{world.namespace}-node", {"rack": world.namespace}
    cluster = world.cluster

    async def assigned() -> dict[str, str]:
        found = NodeNetwork.parse(await cluster.get(NODE_NETWORKS, node)).spec.provider_networks or {}
        return {network: part.nic for network, part in found.items()}

    async def summary() -> tuple[int, int]:
        status = ProviderNetwork.parse(await cluster.get(NETWORKS, name)).status
        return status.nodes, status.ready

    api = {"apiVersion": "virtnet.dev/v1alpha1"}
    spec = {"defaultNic": "eth1", "nodeSelector": labels}
    await cluster.create(NETWORKS, {**api, "kind": "ProviderNetwork", "metadata": {"name": name}, "spec": spec})
    await cluster.create(NODE_NETWORKS, {**api, "kind": "NodeNetwork", "metadata": {"name": node}})
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels}}
    await cluster.create(kinds.NODES, body)

    async def is_assigned(nics: dict[str, str]) -> bool:
        return await assigned() == nics

    async def says(nodes: int, ready: int) -> bool:
        return await summary() == (nodes, ready)

    await until(lambda: is_assigned({name: "eth1"}), "the node is told")
    await until(lambda: says(1, 0), "it has not answered")
    answer = {"providerNetworks": {name: {"nic": "eth1", "ready": True, "reason": "Plugged"}}}
    await cluster.patch(NODE_NETWORKS, node, {"status": answer}, subresource="status")
    await until(lambda: says(1, 1), "it has answered")
    await cluster.patch(NETWORKS, name, {"spec": {"defaultNic": "eth2"}})
    await until(lambda: is_assigned({name: "eth2"}), "the node is told of another NIC")
    await cluster.patch(kinds.NODES, node, {"metadata": {"labels": {"rack": None}}})
    await until(lambda: is_assigned({}), "the node is none of it any more")
    await until(lambda: says(0, 0), "no node is left")

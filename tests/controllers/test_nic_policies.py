"""Nodes are told of NicPolicies, which say how they do and are gone once all nodes have undone them."""

from typing import Any

import pytest

from tests.controllers.conftest import World, until, until_gone
from virtnet.api import NicPolicy, NodeNetwork
from virtnet.kube import kinds

pytestmark = pytest.mark.system

POLICIES, NODE_NETWORKS = kinds.of(NicPolicy), kinds.of(NodeNetwork)


async def test_every_change_is_followed_at_once(world: World) -> None:
    name, node, labels = f"p{world.namespace[:8]}", f"{world.namespace}-node", {"rack": world.namespace}
    cluster = world.cluster

    async def asked(vfs: int | None) -> bool:
        placed = NodeNetwork.parse(await cluster.get(NODE_NETWORKS, node)).spec.nic_policies or ()
        return [one.vfs for one in placed if one.name == name] == ([] if vfs is None else [vfs])

    async def says(reason: str, ready: int) -> bool:
        status = NicPolicy.parse(await cluster.get(POLICIES, name)).status
        return [(one.reason, status.ready) for one in status.conditions if one.type == "Ready"] == [(reason, ready)]

    async def answer(**part: Any) -> None:
        nic = {"address": "0000:3b:00.0", "interface": "ens1", **part.pop("nic")} if "nic" in part else None
        told = {name: {"nics": [nic] if nic else [], **part} if part else None}
        await cluster.patch(NODE_NETWORKS, node, {"status": {"nicPolicies": told}}, subresource="status")

    api = {"apiVersion": "virtnet.dev/v1alpha1"}
    spec = {"nodeSelector": labels, "nics": {"vendors": ["8086"], "names": ["ens1"]}, "vfs": 4, "mtu": 9000}
    await cluster.create(POLICIES, {**api, "kind": "NicPolicy", "metadata": {"name": name}, "spec": spec})
    await until(lambda: says("NoNodes", 0), "no node has it")
    await cluster.create(NODE_NETWORKS, {**api, "kind": "NodeNetwork", "metadata": {"name": node}})
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels}}
    await cluster.create(kinds.NODES, body)
    await until(lambda: asked(4), "the node is told")
    await until(lambda: says("Waiting", 0), "it has not answered")
    await answer(generation=1, nic={"ready": True, "reason": "Configured"})
    await until(lambda: says("Configured", 1), "it has answered")
    await cluster.patch(POLICIES, name, {"spec": {"vfs": 8}})
    await until(lambda: asked(8), "the node is told of a change")
    await until(lambda: says("Waiting", 1), "it has not answered to that")
    busy = {"reason": "VfInUse", "message": "VF 2 of ens1 is pod demo/db's"}
    await answer(generation=2, nic=busy)
    await until(lambda: says("VfInUse", 0), "a VF is in use")

    await cluster.delete(POLICIES, name)
    await until(lambda: asked(None), "the node is to undo it")
    await answer(generation=0, nic=busy)

    async def waits() -> bool:
        status = NicPolicy.parse(await cluster.get(POLICIES, name)).status
        return any(one.type == "Deleting" and "pod demo/db's" in one.message for one in status.conditions)

    await until(waits, "it says who is in the way of its deletion")
    await answer()
    await until_gone(cluster, POLICIES, name)

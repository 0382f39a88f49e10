"""MACs that are in use where a NIC is: of the router, of a node, of a NIC on the same VLAN, and virtual ones."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from tests.controllers.conftest import until
from tests.safety.tenants import ATTACKER, Body, Scene, marks_of
from virtnet.addressing.mac import generate
from virtnet.api import ClusterSubnet, NodeNetwork, ProviderNetwork
from virtnet.kube import kinds
from virtnet.kube.errors import Conflict, NotFound, Rejected
from virtnet.kube.kinds import NADS, NAMESPACES, PODS

CLUSTER_SUBNETS, NETWORKS, NODES = map(kinds.of, (ClusterSubnet, ProviderNetwork, NodeNetwork))
MAC, NODE_MAC = "02:00:00:00:00:77", "52:54:00:00:00:01"
API = "virtnet.dev/v1alpha1"


def nad(name: str) -> Body:
    config = {"cniVersion": "1.1.0", "name": name, "type": "virtnet-cni", "clusterSubnet": name}
    return {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name},
        "spec": {"config": json.dumps(config)},
    }


def pod(name: str, network: str, mac: str = "") -> Body:
    wanted = [{"name": network, **({"mac": mac} if mac else {})}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": {"k8s.v1.cni.cncf.io/networks": json.dumps(wanted)}},
        "spec": {"containers": [{"name": "c", "image": "c"}]},
    }


def lan(name: str, cidr: str, vlan: int) -> Body:
    spec = {"cidrs": [cidr], "providerNetwork": "macs", "vlan": vlan, "conflictDetection": False}
    return {"apiVersion": API, "kind": "ClusterSubnet", "metadata": {"name": name}, "spec": spec}


@pytest.fixture
async def vlan(scene: Scene) -> AsyncIterator[Scene]:
    """Two ClusterSubnets on one VLAN, and one on another; a node with a NIC there."""
    network = {
        "apiVersion": API,
        "kind": "ProviderNetwork",
        "metadata": {"name": "macs"},
        "spec": {"defaultNic": "eth1", "nodeSelector": {"site": "macs"}},
    }
    await scene.admin.create(NETWORKS, network)
    for name, cidr, number in (
        ("lan-a", "172.31.100.0/25", 100),
        ("lan-b", "172.31.100.128/25", 100),
        ("lan-c", "172.31.101.0/25", 101),
    ):
        await scene.admin.create(CLUSTER_SUBNETS, lan(name, cidr, number))
        await scene.attacker.create(NADS, nad(name), ATTACKER)
    await scene.admin.create(NODES, {"apiVersion": API, "kind": "NodeNetwork", "metadata": {"name": "macs1"}})
    status = {"status": {"providerNetworks": {"macs": {"nic": "eth1", "macAddress": NODE_MAC, "ready": True}}}}
    await scene.admin.patch(NODES, "macs1", status, subresource="status")
    yield scene
    for kind, name in ((NODES, "macs1"), *((PODS, one) for one in ("a", "b", "c", "d", "e"))):
        try:
            await scene.admin.delete(kind, name, ATTACKER if kind == PODS else "")
        except NotFound:
            continue


async def create(scene: Scene, name: str, network: str, mac: str) -> Mapping[str, Any]:
    return await scene.attacker.create(PODS, pod(name, network, mac), ATTACKER)


async def test_the_routers_mac(scene: Scene) -> None:
    before = scene.security()
    router = (
        scene.ovn.nbctl("get", "Logical_Router_Port", "virtnet:ClusterSubnet/shared:gateway", "mac").strip().strip('"')
    )
    with pytest.raises(
        (Conflict, Rejected), match=f"{router} is used by the router of ClusterVpc default; choose another"
    ):
        await create(scene, "macpod", "shared-net", router)
    with pytest.raises((Conflict, Rejected), match="00:00:5e:00:01:0a is used by routers by VRRP"):
        await create(scene, "macpod", "shared-net", "00:00:5e:00:01:0a")
    await scene.harmless(before)


async def test_one_mac_on_one_vlan(vlan: Scene) -> None:
    scene = vlan

    async def refused() -> bool:
        try:
            await scene.attacker.create(PODS, pod("e", "lan-a", NODE_MAC), ATTACKER, dry_run=True)
        except (Conflict, Rejected) as error:
            return f"{NODE_MAC} is used by node macs1 on ProviderNetwork macs" in str(error)
        return False

    await until(refused, "the node's MAC is known")
    await create(scene, "a", "lan-a", MAC)
    with pytest.raises(
        (Conflict, Rejected),
        match=f"{MAC} is held by Pod {ATTACKER}/a, NIC net1 in ClusterSubnet lan-a on the same VLAN",
    ):
        await create(scene, "b", "lan-b", MAC)
    await create(scene, "c", "lan-c", MAC)
    with pytest.raises(
        (Conflict, Rejected), match=f"MAC {MAC} of Pod {ATTACKER}/c, NIC net1 is that of Pod {ATTACKER}/a"
    ):
        await scene.admin.patch(CLUSTER_SUBNETS, "lan-c", {"spec": {"vlan": 100}})

    for number in range(5):
        mac = f"02:00:00:00:01:{number:02x}"
        both = await asyncio.gather(
            create(scene, f"x{number}", "lan-a", mac), create(scene, f"y{number}", "lan-b", mac), return_exceptions=True
        )
        assert sum(not isinstance(one, BaseException) for one in both) <= 1
        leases = await scene.leases()
        assert sum(f"{mac} of ClusterSubnet lan-{name}" in leases for name in "ab") <= 1


async def test_generated_macs_are_this_clusters(scene: Scene) -> None:
    """The same manifests in another cluster get others."""
    made = await create(scene, "d", "shared-net", "")
    (nic,) = json.loads(marks_of(dict(made))).values()
    uid = (await scene.admin.get(NAMESPACES, "kube-system"))["metadata"]["uid"]
    assert nic["mac"] == generate(f"{uid}/{nic['port']}")
    assert nic["mac"] != generate(f"00000000-0000-4000-8000-000000000000/{nic['port']}")

"""A tenant's Subnets would bend the traffic of guests on an underlay, who are told routes to all networks of their Vpc."""

import json
from collections.abc import AsyncIterator

import pytest
import yaml

from tests.controllers.conftest import until, until_gone
from tests.safety.tenants import ATTACKER, Body, Scene, marks_of
from virtnet.api import ClusterSubnet, ClusterVpc, ProviderNetwork, Subnet
from virtnet.kube import kinds
from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import NADS, PODS

CLUSTER_SUBNETS, CLUSTER_VPCS, SUBNETS = map(kinds.of, (ClusterSubnet, ClusterVpc, Subnet))
API = "virtnet.dev/v1alpha1"
DEFAULT = {"kind": "ClusterVpc", "name": "default"}
GRANTED = [{"cidrs": ["10.16.0.0/14"], "namespaces": [ATTACKER]}]
MANY = 36

BEND = """
# With the network of somebody else's servers: guests of "lan" were told to route that network by the Vpc's router.
apiVersion: virtnet.dev/v1alpha1
kind: Subnet
metadata: {name: bend, namespace: tenant-a}
spec: {cidrs: [8.8.8.0/24], gateways: [8.8.8.254]}
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: bend-net, namespace: tenant-a}
spec: {config: '{"cniVersion":"1.1.0","name":"bend-net","type":"virtnet-cni","subnet":"bend"}'}
---
apiVersion: v1
kind: Pod
metadata: {name: dns, namespace: tenant-a, annotations: {k8s.v1.cni.cncf.io/networks: '[{"name":"bend-net","ips":["8.8.8.8/24"],"default-route":["8.8.8.254"]}]'}}
spec: {nodeSelector: {kubernetes.io/hostname: node2}, containers: [{name: c, image: c}]}
"""


@pytest.fixture
async def lan(scene: Scene) -> AsyncIterator[Scene]:
    """An underlay whose gateway is a machine outside, in ClusterVpc ``default``, which grants the attacker one network."""
    network: Body = {
        "apiVersion": API,
        "kind": "ProviderNetwork",
        "metadata": {"name": "rack"},
        "spec": {"defaultNic": "p1", "nodeSelector": {"site": "rack"}},
    }
    subnet: Body = {
        "apiVersion": API,
        "kind": "ClusterSubnet",
        "metadata": {"name": "lan"},
        "spec": {
            "cidrs": ["172.31.100.0/25"],
            "gateways": ["172.31.100.1"],
            "routerAddresses": ["172.31.100.2"],
            "providerNetwork": "rack",
            "vlan": 100,
        },
    }
    await scene.admin.create(kinds.of(ProviderNetwork), network)
    await scene.admin.create(CLUSTER_SUBNETS, subnet)
    await until(lambda: told(scene), "what guests of the underlay are told")
    yield scene
    for kind, name in ((CLUSTER_SUBNETS, "lan"), (kinds.of(ProviderNetwork), "rack")):
        await scene.admin.delete(kind, name)
        await until_gone(scene.admin, kind, name)
    await scene.admin.patch(CLUSTER_VPCS, "default", {"spec": {"allowedCidrs": []}})


async def told(scene: Scene) -> list[str]:
    """The networks that guests of the underlay are told to route by the Vpc's router, as OVN has them."""
    text = scene.ovn.nbctl("--format=json", "--columns=cidr,options", "list", "DHCP_Options")
    for cidr, options in json.loads(text)["data"]:
        if cidr == "172.31.100.0/25":
            routes = dict(options[1]).get("classless_static_route", "{}").strip("{}").split(", ")
            return [one.partition(",")[0] for one in routes if one.endswith(",172.31.100.2")]
    return []


def small(number: int) -> Body:
    """Those side by side are one route: they are not."""
    spec = {"cidrs": [f"10.16.{2 * number}.0/24"], "vpc": DEFAULT}
    return {"apiVersion": API, "kind": "Subnet", "metadata": {"name": f"small{number}"}, "spec": spec}


async def test_a_subnet_with_the_network_of_others_servers(lan: Scene) -> None:
    """As it was written it lies in the tenant's own Vpc; where the tenant names the other, that does not grant it."""
    scene = lan
    before, rows = await told(scene), scene.security()
    subnet, nad, pod = yaml.safe_load_all(BEND)
    await scene.attacker.create(SUBNETS, subnet, ATTACKER)
    await scene.attacker.create(NADS, nad, ATTACKER)
    (nic,) = json.loads(marks_of(await scene.attacker.create(PODS, pod, ATTACKER))).values()
    assert nic["addresses"] == ["8.8.8.8/24"]
    await scene.in_ovn(nic["port"])
    await scene.harmless(rows)
    assert await told(scene) == before

    await scene.admin.patch(CLUSTER_VPCS, "default", {"spec": {"allowedCidrs": GRANTED}})
    bent = {**subnet, "metadata": {"name": "bent"}, "spec": {**subnet["spec"], "vpc": DEFAULT}}

    async def refused() -> bool:
        try:
            await scene.attacker.create(SUBNETS, bent, ATTACKER, dry_run=True)
        except Rejected as error:
            return f"ClusterVpc default allows namespace {ATTACKER} 10.16.0.0/14, and 8.8.8.0/24 is outside" in str(
                error
            )
        return False

    await until(refused, "the Subnet is refused")
    assert await told(scene) == before


async def test_many_small_subnets(lan: Scene) -> None:
    """They push no administrator's network out of what DHCP has room for, and the underlay says what is left out."""
    scene = lan
    before = await told(scene)
    assert "10.50.0.0/24" in before, "the ClusterSubnet that tenants share"
    await scene.admin.patch(CLUSTER_VPCS, "default", {"spec": {"allowedCidrs": GRANTED}})
    for number in range(MANY):
        await scene.attacker.create(SUBNETS, small(number), ATTACKER)

    async def said() -> str:
        status = (await scene.admin.get(CLUSTER_SUBNETS, "lan")).get("status") or {}
        return next(
            (
                one["message"]
                for one in status.get("conditions", [])
                if (one["type"], one["status"]) == ("RoutesLeftOut", "True")
            ),
            "",
        )

    async def all_counted() -> bool:
        known = await told(scene)
        left = MANY + len(before) - len(known)
        return left > 0 and f"no room for {left} of" in await said()

    await until(all_counted, "how many routes are left out")
    assert set(before) <= set(await told(scene))

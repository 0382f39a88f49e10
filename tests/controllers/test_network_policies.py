"""Network policies on real servers: a policy comes, changes and goes, and OVN lets pass what it says."""

from typing import Any

import pytest

from tests.controllers.conftest import World, until
from tests.controllers.test_security_groups import NICS, becomes, group, name, passes, trace
from virtnet.kube.kinds import CRDS, MULTI_NETWORK_POLICIES, NAMESPACES, NETWORK_POLICIES, VMS, Kind

pytestmark = pytest.mark.system

DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "multi-networkpolicies.k8s.cni.cncf.io"},
    "spec": {
        "group": "k8s.cni.cncf.io",
        "scope": "Namespaced",
        "names": {"plural": "multi-networkpolicies", "singular": "multi-networkpolicy", "kind": "MultiNetworkPolicy"},
        "versions": [
            {
                "name": "v1beta1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            }
        ],
    },
}


async def workloads(world: World) -> None:
    """Two VMs, whose one network is in the place of the pod network."""
    await world.subnet()
    for vm, (address, mac) in NICS.items():
        await world.lease(vm, address)
        await world.lease(vm, mac)
        body = world.manifest(vm, address, mac)
        template = {"metadata": {"labels": {"app": vm}}, "spec": body["spec"]["template"]["spec"]}
        template["spec"] |= {"networks": [{"name": "blue", "multus": {"networkName": "blue-net", "default": True}}]}
        await world.cluster.create(VMS, {**body, "spec": {**body["spec"], "template": template}}, world.namespace)

    async def there() -> bool:
        return len(world.lsps()) == len(NICS)

    await until(there, "both ports in OVN")


async def policy(world: World, kind: Kind, ingress: list[Any], **metadata: Any) -> None:
    body = {
        "apiVersion": f"{kind.group}/{kind.version}",
        "kind": "NetworkPolicy" if kind is NETWORK_POLICIES else "MultiNetworkPolicy",
        "metadata": {"name": "db", **metadata},
        "spec": {"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"], "ingress": ingress},
    }
    await world.cluster.create(kind, body, world.namespace)


WEB = [{"podSelector": {"matchLabels": {"app": "web"}}, "namespaceSelector": {"matchLabels": {"team": "red"}}}]


async def test_a_policy_comes_changes_and_goes(world: World) -> None:
    await workloads(world)
    await policy(world, NETWORK_POLICIES, [])
    await becomes(world, "web", "db", passing=False)
    assert passes(world, "db", "web"), "of what it sends the policy says nothing"
    assert "ct_next" not in trace(world, "web", "web"), "a NIC under no policy is not tracked"

    rule = {"from": WEB, "ports": [{"port": 80}]}
    await world.cluster.patch(NETWORK_POLICIES, "db", {"spec": {"ingress": [rule]}}, world.namespace)
    await world.cluster.patch(NAMESPACES, world.namespace, {"metadata": {"labels": {"team": "red"}}})
    await becomes(world, "web", "db", passing=True)
    assert not passes(world, "web", "db", "tcp.dst == 81 && tcp.flags == 2")
    labels = {"spec": {"template": {"metadata": {"labels": {"app": "other"}}}}}
    await world.cluster.patch(VMS, "web", labels, world.namespace)
    await becomes(world, "web", "db", passing=False)
    await world.cluster.delete(NETWORK_POLICIES, "db", world.namespace)
    await becomes(world, "web", "db", passing=True)


async def test_a_group_opens_nothing_that_a_policy_shuts(world: World) -> None:
    await workloads(world)
    await policy(world, NETWORK_POLICIES, [{"ports": [{"port": 80}]}])
    await group(world, "open", ingress=[{}])
    await name(world, "db", "open")
    await becomes(world, "web", "db", passing=False, what="tcp.dst == 81 && tcp.flags == 2")
    assert passes(world, "web", "db")


async def test_policies_for_networks_are_heard_once_their_kind_is_there(world: World) -> None:
    await workloads(world)
    await world.cluster.create(CRDS, DEFINITION)

    async def served() -> bool:
        found = await world.cluster.get(CRDS, "multi-networkpolicies.k8s.cni.cncf.io")
        conditions = found["status"]["conditions"] or ()
        return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)

    await until(served, "the kind")
    await policy(world, MULTI_NETWORK_POLICIES, [], annotations={"k8s.v1.cni.cncf.io/policy-for": "blue-net, other"})
    await becomes(world, "web", "db", passing=False)
    await world.cluster.delete(MULTI_NETWORK_POLICIES, "db", world.namespace)
    await becomes(world, "web", "db", passing=True)

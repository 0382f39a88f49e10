"""What the API server itself refuses, by schema and CEL, and what it says."""

import copy
from typing import Any

import pytest

from virtnet.api import AddressLease, ClusterVpc, Subnet
from virtnet.api.crds import definition
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import Rejected
from virtnet.lab import manifests

pytestmark = pytest.mark.system


def body(model: type, name: str = "blue", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "virtnet.dev/v1alpha1", "kind": model.__name__, "metadata": {"name": name}, "spec": spec}


async def test_defaults(cluster: Cluster, namespace: str) -> None:
    made = await cluster.create(kinds.of(Subnet), body(Subnet, cidrs=["10.0.0.0/24"]), namespace)
    spec = made["spec"]
    assert (spec["vpc"], spec["dhcp"]) == (
        {"kind": "Vpc", "name": "default"},
        {"enabled": True, "leaseSeconds": 3600},
    )
    assert Subnet.parse(made).spec.gateways == ()
    assert Subnet.parse(made).spec.guest_mtu == 1442


async def test_a_lease_does_not_change_hands(cluster: Cluster, namespace: str) -> None:
    holder = {
        "namespace": namespace,
        "port": "db.blue",
        "network": "blue",
        "owner": {"kind": "VirtualMachine", "name": "db"},
    }
    spec = {
        "address": "10.0.0.5",
        "subnet": {"kind": "Subnet", "namespace": namespace, "name": "blue"},
        "holder": holder,
    }
    name = f"10.0.0.5.blue.{namespace}"
    made = await cluster.create(kinds.of(AddressLease), body(AddressLease, name, **spec))
    assert AddressLease.parse(made).status.phase == "Reserved"
    with pytest.raises(Rejected, match="a lease does not change hands"):
        await cluster.patch(kinds.of(AddressLease), name, {"spec": {"holder": {"port": "web.blue"}}})
    await cluster.delete(kinds.of(AddressLease), name)


async def test_an_empty_cluster_vpc_is_enough(cluster: Cluster) -> None:
    made = await cluster.create(
        kinds.of(ClusterVpc),
        {"apiVersion": "virtnet.dev/v1alpha1", "kind": "ClusterVpc", "metadata": {"name": "bare"}},
    )
    assert ClusterVpc.parse(made).spec.allowed_namespaces == ()
    await cluster.delete(kinds.of(ClusterVpc), "bare")


QUERIER_IN_IPV6 = {"snooping": True, "querier": True, "querierAddress": "fd00:10::5"}


async def test_a_rule_that_comes_later_is_not_held_against_what_is_stored(cluster: Cluster, namespace: str) -> None:
    """Else no status of it can be written any more, and its addresses are never free again."""
    crd = definition(Subnet)
    crd["metadata"]["name"], crd["spec"]["group"] = "subnets.later.virtnet.dev", "later.virtnet.dev"
    (version,) = crd["spec"]["versions"]
    earlier = {**copy.deepcopy(version), "name": "v1alpha0", "storage": False}
    crd["spec"]["versions"].append(earlier)
    schema = earlier["schema"]["openAPIV3Schema"]
    for part in (schema, schema["properties"]["spec"]["properties"]["multicast"]):
        part.pop("x-kubernetes-validations")
    await manifests.apply(cluster, [crd])
    before, subnets = (kinds.Kind("later.virtnet.dev", one["name"], "subnets") for one in (earlier, version))
    stored = body(Subnet, cidrs=["10.0.0.0/24", "fd00:10::/64"], multicast=QUERIER_IN_IPV6)
    stored["apiVersion"] = f"{before.group}/{before.version}"
    await cluster.create(before, stored, namespace)
    made = await cluster.patch(subnets, "blue", {"status": {"used": 3}}, namespace, subresource="status")
    assert made["status"]["used"] == 3
    assert (await cluster.patch(subnets, "blue", {"spec": {"mtu": 1400}}, namespace))["spec"]["mtu"] == 1400
    change = {"spec": {"multicast": {"querierAddress": "fd00:10::6"}}}
    with pytest.raises(Rejected, match="querierAddress needs"):
        await cluster.patch(subnets, "blue", change, namespace)

"""What the API server itself refuses, by schema and CEL, and what it says."""

from typing import Any

import pytest

from virtnet.api import AddressLease, ClusterSubnet, ClusterVpc, Subnet, Vpc
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import Rejected

pytestmark = pytest.mark.system


def body(model: type, name: str = "blue", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "virtnet.dev/v1alpha1", "kind": model.__name__, "metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize(
    ("model", "name", "spec", "message"),
    [
        pytest.param(Subnet, "blue", {}, "spec.cidr: Required value", id="no cidr"),
        pytest.param(Subnet, "blue", {"cidr": "10.0.0.0"}, "must be an IPv4 network such as 10.10.0.0/24", id="no prefix"),
        pytest.param(Subnet, "blue", {"cidr": "10.0.0.1/24"}, "no host bits set", id="host bits"),
        pytest.param(Subnet, "blue", {"cidr": "10.0.0.0/31"}, "prefix 8 to 30", id="too small"),
        pytest.param(Subnet, "blue", {"cidr": "fd00::/64"}, "must be an IPv4 network", id="IPv6"),
        pytest.param(Subnet, "blue", {"cidr": "10.0.0.0/24", "gateway": "10.0.1.1"}, "gateway must be a host address of cidr", id="gateway outside"),
        pytest.param(Subnet, "blue", {"cidr": "10.0.0.0/24", "gateway": "10.0.0.0"}, "gateway must be a host address of cidr", id="network address as gateway"),
        pytest.param(Subnet, "blue", {"cidr": "10.0.0.0/24", "excludes": ["10.0.0.5-x"]}, "must be an address (10.10.0.200) or a range", id="bad range"),
        pytest.param(Subnet, "blue", {"cidr": "10.0.0.0/24", "mtu": 100}, "should be greater than or equal to 576", id="tiny MTU"),
        pytest.param(Subnet, "blue", {"cidr": "10.0.0.0/24", "providerNetwork": "lan"}, "only a ClusterSubnet may name a providerNetwork", id="tenant's underlay"),
        pytest.param(Subnet, "blue", {"cidr": "10.0.0.0/24", "allowedNamespaces": ["x"]}, "allowedNamespaces is for a ClusterSubnet", id="tenant's guest list"),
        pytest.param(Subnet, "blue.green", {"cidr": "10.0.0.0/24"}, "names have no dots", id="dots"),
        pytest.param(Subnet, "b" * 64, {"cidr": "10.0.0.0/24"}, "names have at most 63 characters", id="long name"),
        pytest.param(ClusterSubnet, "lan", {"cidr": "10.0.0.0/24", "vlan": 5}, "vlan needs a providerNetwork", id="vlan on overlay"),
        pytest.param(ClusterSubnet, "lan", {"cidr": "10.0.0.0/24", "vpc": {"kind": "Vpc", "name": "x"}}, "lies in a ClusterVpc", id="tenant's Vpc"),
        pytest.param(Vpc, "shop", {"allowedNamespaces": ["x"]}, "allowedNamespaces is for a ClusterVpc", id="Vpc with guests"),
    ],
)  # fmt: skip
async def test_refusals(
    cluster: Cluster, namespace: str, model: type, name: str, spec: dict[str, Any], message: str
) -> None:
    kind = kinds.of(model)
    with pytest.raises(Rejected, match=message.replace("(", r"\(").replace(")", r"\)")):
        await cluster.create(kind, body(model, name, **spec), namespace if kind.namespaced else "")


async def test_defaults(cluster: Cluster, namespace: str) -> None:
    made = await cluster.create(kinds.of(Subnet), body(Subnet, cidr="10.0.0.0/24"), namespace)
    spec = made["spec"]
    assert (spec["vpc"], spec["mtu"], spec["dhcp"]) == (
        {"kind": "ClusterVpc", "name": "default"},
        1442,
        {"enabled": True, "leaseSeconds": 3600},
    )
    assert Subnet.parse(made).spec.gateway is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"cidr": "10.0.0.0/25"}, "cidr is immutable", id="cidr"),
        pytest.param({"vpc": {"name": "other"}}, "vpc is immutable", id="vpc"),
    ],
)
async def test_what_cannot_change(cluster: Cluster, namespace: str, change: dict[str, Any], message: str) -> None:
    await cluster.create(kinds.of(Subnet), body(Subnet, cidr="10.0.0.0/24"), namespace)
    with pytest.raises(Rejected, match=message):
        await cluster.patch(kinds.of(Subnet), "blue", {"spec": change}, namespace)


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
        {"apiVersion": "virtnet.dev/v1alpha1", "kind": "ClusterVpc", "metadata": {"name": "default"}},
    )
    assert ClusterVpc.parse(made).spec.allowed_namespaces == ()
    await cluster.delete(kinds.of(ClusterVpc), "default")

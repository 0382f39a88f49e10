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
        pytest.param(Subnet, "blue", {}, "spec.cidrs: Required value", id="no cidrs"),
        pytest.param(Subnet, "blue", {"cidrs": ["10.0.0.0"]}, "must be a unicast network such as 10.10.0.0/24", id="no prefix"),
        pytest.param(Subnet, "blue", {"cidrs": ["10.0.0.1/24"]}, "no host bits set", id="host bits"),
        pytest.param(Subnet, "blue", {"cidrs": ["10.0.0.0/31"]}, "prefix 8 to 30", id="too small"),
        pytest.param(Subnet, "blue", {"cidrs": []}, "should have at least 1 items", id="empty"),
        pytest.param(Subnet, "blue", {"cidrs": ["fd00::/48"]}, "64 to 126 in IPv6", id="too large in IPv6"),
        pytest.param(Subnet, "blue", {"cidrs": ["fd00::1/64"]}, "no host bits set", id="host bits in IPv6"),
        pytest.param(Subnet, "blue", {"cidrs": ["fe80::/64"]}, "must be a unicast network such as 10.10.0.0/24", id="link-local"),
        pytest.param(Subnet, "blue", {"cidrs": ["ff02::/64"]}, "must be a unicast network such as 10.10.0.0/24", id="multicast"),
        pytest.param(Subnet, "blue", {"cidrs": ["224.0.0.0/8"]}, "must be a unicast network such as 10.10.0.0/24", id="multicast in IPv4"),
        pytest.param(Subnet, "blue", {"cidrs": ["::ffff:10.0.0.0/120"]}, "must be a unicast network such as 10.10.0.0/24", id="IPv4 written as IPv6"),
        pytest.param(Subnet, "blue", {"cidrs": ["::/64"]}, "must be a unicast network such as 10.10.0.0/24", id="unspecified"),
        pytest.param(Subnet, "blue", {"cidrs": ["10.0.0.0/24", "10.0.1.0/24"]}, "cidrs must be of different families", id="twice IPv4"),
        pytest.param(Subnet, "blue", {"cidrs": ["fd00::/64", "fd01::/64"]}, "cidrs must be of different families", id="twice IPv6"),
        pytest.param(Subnet, "blue", {"cidrs": ["10.0.0.0/24", "fd00::/64", "fd01::/64"]}, "must have at most 2 items", id="three"),
        pytest.param(Subnet, "blue", {"cidrs": ["fd00::/64"], "mtu": 1200}, "mtu must be at least 1280 where there is IPv6", id="MTU too small for IPv6"),
        pytest.param(Subnet, "blue", {"cidrs": ["fd00::/64"], "gateways": ["fd00::"]}, "each of gateways must be a host address", id="anycast address as gateway"),
        pytest.param(Subnet, "blue", {"cidrs": ["fd00::/64"], "gateways": ["fe80::1"]}, "must be a unicast address such as", id="link-local gateway"),
        pytest.param(Subnet, "blue", {"cidrs": ["10.0.0.0/24", "fd00::/64"], "gateways": ["10.0.0.1", "10.0.0.2"]}, "gateways must be of different families", id="two gateways of one family"),
        pytest.param(Subnet, "blue", {"cidrs": ["fd00::/64"], "excludes": ["fd00::1-fd00::2-fd00::3"]}, "must be an address (10.10.0.200) or a range", id="three ends"),
        pytest.param(Subnet, "blue", {"cidrs": ["10.0.0.0/24"], "routes": [{"destination": "10.9.0.1/24", "gateway": "10.0.0.9"}]}, "must be a network such as 192.168.0.0/16", id="host bits in a route"),
        pytest.param(Subnet, "blue", {"cidrs": ["10.0.0.0/24"], "gateways": ["10.0.1.1"]}, "each of gateways must be a host address of one of cidrs", id="gateway outside"),
        pytest.param(Subnet, "blue", {"cidrs": ["10.0.0.0/24"], "gateways": ["10.0.0.0"]}, "each of gateways must be a host address of one of cidrs", id="network address as gateway"),
        pytest.param(Subnet, "blue", {"cidrs": ["10.0.0.0/24"], "excludes": ["10.0.0.5-x"]}, "must be an address (10.10.0.200) or a range", id="bad range"),
        pytest.param(Subnet, "blue", {"cidrs": ["10.0.0.0/24"], "mtu": 100}, "should be greater than or equal to 576", id="tiny MTU"),
        pytest.param(Subnet, "blue", {"cidrs": ["10.0.0.0/24"], "providerNetwork": "lan"}, "only a ClusterSubnet may name a providerNetwork", id="tenant's underlay"),
        pytest.param(Subnet, "blue", {"cidrs": ["10.0.0.0/24"], "allowedNamespaces": ["x"]}, "allowedNamespaces is for a ClusterSubnet", id="tenant's guest list"),
        pytest.param(Subnet, "blue.green", {"cidrs": ["10.0.0.0/24"]}, "names have no dots", id="dots"),
        pytest.param(Subnet, "b" * 64, {"cidrs": ["10.0.0.0/24"]}, "names have at most 63 characters", id="long name"),
        pytest.param(ClusterSubnet, "lan", {"cidrs": ["10.0.0.0/24"], "vlan": 5}, "vlan needs a providerNetwork", id="vlan on overlay"),
        pytest.param(ClusterSubnet, "lan", {"cidrs": ["10.0.0.0/24"], "vpc": {"kind": "Vpc", "name": "x"}}, "lies in a ClusterVpc", id="tenant's Vpc"),
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
    made = await cluster.create(kinds.of(Subnet), body(Subnet, cidrs=["10.0.0.0/24"]), namespace)
    spec = made["spec"]
    assert (spec["vpc"], spec["dhcp"]) == (
        {"kind": "ClusterVpc", "name": "default"},
        {"enabled": True, "leaseSeconds": 3600},
    )
    assert Subnet.parse(made).spec.gateways == ()
    assert Subnet.parse(made).spec.guest_mtu == 1442


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"cidrs": ["10.0.0.0/25"]}, "cidrs are immutable", id="cidrs"),
        pytest.param({"vpc": {"name": "other"}}, "vpc is immutable", id="vpc"),
    ],
)
async def test_what_cannot_change(cluster: Cluster, namespace: str, change: dict[str, Any], message: str) -> None:
    await cluster.create(kinds.of(Subnet), body(Subnet, cidrs=["10.0.0.0/24"]), namespace)
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
        {"apiVersion": "virtnet.dev/v1alpha1", "kind": "ClusterVpc", "metadata": {"name": "bare"}},
    )
    assert ClusterVpc.parse(made).spec.allowed_namespaces == ()
    await cluster.delete(kinds.of(ClusterVpc), "bare")

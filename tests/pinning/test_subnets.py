"""What the CRD's own rules cannot say of a Subnet is said at its admission."""

from typing import Any

import pytest

from tests.pinning.conftest import Tenant, vm
from virtnet.api import ClusterSubnet, ClusterVpc, Subnet
from virtnet.kube import kinds
from virtnet.kube.errors import Rejected

DENIED = 'admission webhook "check-subnet.virtnet.dev" denied the request: '
SUBNETS = kinds.of(Subnet)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param(
            {"ranges": ["10.5.0.9-10.5.0.2"]},
            "ranges: 10.5.0.9-10.5.0.2 ends before it begins; write 10.5.0.2-10.5.0.9",
            id="backward range",
        ),
        pytest.param(
            {"ranges": ["10.5.0.9-10.5.1.2"]}, "ranges: 10.5.0.9-10.5.1.2 is not inside 10.5.0.0/24", id="range outside"
        ),
        pytest.param({"excludes": ["10.6.0.1"]}, "excludes: 10.6.0.1 is not inside 10.5.0.0/24", id="exclude outside"),
        pytest.param(
            {"excludes": ["10.5.0.999"]},
            "excludes: 10.5.0.999 is neither an address nor a range like 10.10.0.10-10.10.0.99",
            id="no address",
        ),
        pytest.param(
            {"reservations": [{"address": "10.6.0.7", "vm": "db"}]},
            "reservations: 10.6.0.7 is no host address of 10.5.0.0/24",
            id="reservation outside",
        ),
        pytest.param(
            {"reservations": [{"address": "10.5.0.1", "vm": "db"}]},
            "reservations: 10.5.0.1 is the gateway; reserve another address",
            id="gateway reserved",
        ),
        pytest.param(
            {"reservations": [{"address": "10.5.0.7", "vm": "db"}, {"address": "10.5.0.7", "vm": "web"}]},
            "reservations: 10.5.0.7 is kept for NS/db and for NS/web; remove one of them",
            id="reserved twice",
        ),
        pytest.param(
            {"gateways": ["10.5.0.255"]},
            "gateways: 10.5.0.255 is no host address of 10.5.0.0/24",
            id="broadcast gateway",
        ),
    ],
)
async def test_a_subnet_that_could_not_be_served(tenant: Tenant, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(Rejected) as refusal:
        await tenant.subnet("odd", "10.5.0.0/24", **spec)
    ns = tenant.namespace
    assert str(refusal.value) == f"{DENIED}Subnet {ns}/odd: {message.replace('NS', ns)}"


async def test_an_overlap_in_one_vpc(tenant: Tenant) -> None:
    vpc = {"kind": "Vpc", "name": "blue"}
    with pytest.raises(Rejected) as refusal:
        await tenant.subnet("odd", "10.0.0.128/25", vpc=vpc)
    assert refusal.value.code == 409
    assert str(refusal.value) == (
        f"{DENIED}Subnet {tenant.namespace}/odd: 10.0.0.128/25 overlaps 10.0.0.0/24 of Subnet {tenant.namespace}/blue "
        "in the same Vpc; choose another network or another Vpc"
    )
    await tenant.subnet("fine", "10.0.1.0/24", vpc=vpc)


async def test_a_vpc_that_does_not_exist_yet_is_no_reason(tenant: Tenant) -> None:
    await tenant.subnet("early", "10.0.0.0/24", vpc={"kind": "Vpc", "name": "later"})


async def test_a_vpc_of_others(tenant: Tenant) -> None:
    name = f"vpc-{tenant.namespace}"
    body = {"apiVersion": "virtnet.dev/v1alpha1", "kind": "ClusterVpc", "metadata": {"name": name}}
    await tenant.cluster.create(kinds.of(ClusterVpc), {**body, "spec": {"allowedNamespaces": ["elsewhere"]}})
    with pytest.raises(Rejected) as refusal:
        await tenant.subnet("odd", "10.5.0.0/24", vpc={"kind": "ClusterVpc", "name": name})
    assert refusal.value.code == 403
    assert str(refusal.value) == (
        f"{DENIED}Subnet {tenant.namespace}/odd: ClusterVpc {name} does not allow namespace {tenant.namespace}; "
        "ask its owner, or name another Vpc"
    )


async def test_a_subnet_in_use_stays(tenant: Tenant) -> None:
    ask = {"virtnet.dev/addresses": '{"blue": ["10.0.0.5"]}'}
    await tenant.create(vm(annotations=ask, macs={"blue": "f2:00:00:00:00:05"}))
    with pytest.raises(Rejected) as refusal:
        await tenant.cluster.delete(SUBNETS, "blue", tenant.namespace)
    assert refusal.value.code == 409
    ns = tenant.namespace
    assert str(refusal.value) == (
        f"{DENIED}Subnet {ns}/blue is in use: 2 leases, one of them 10.0.0.5 of VM {ns}/db, NIC blue; "
        "delete its VMs first"
    )
    with pytest.raises(Rejected, match=r"gateway 10\.0\.0\.5 is held by VM .*/db, NIC blue; choose another"):
        await tenant.cluster.patch(SUBNETS, "blue", {"spec": {"gateways": ["10.0.0.5"]}}, ns)


async def test_an_unused_subnet_goes(tenant: Tenant) -> None:
    await tenant.cluster.delete(SUBNETS, "blue", tenant.namespace)
    lan = await tenant.cluster_subnet("10.5.0.0/24")
    await tenant.cluster.delete(kinds.of(ClusterSubnet), lan)

"""What the CRD's own rules cannot say of a Subnet is said at its admission."""

from typing import cast

from tests.pinning.conftest import Tenant
from tests.pinning.inputs import subnet
from virtnet.api import ClusterSubnet, Subnet
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from webhooks.cache import Cache
from webhooks.subnets import SubnetChecker

DENIED = 'admission webhook "check-subnet.virtnet.dev" denied the request: '
SUBNETS = kinds.of(Subnet)


async def test_a_vpc_that_does_not_exist_yet_is_no_reason(tenant: Tenant) -> None:
    await tenant.subnet("early", "10.0.0.0/24", vpc={"kind": "Vpc", "name": "later"})


async def test_an_unused_subnet_goes(tenant: Tenant) -> None:
    await tenant.cluster.delete(SUBNETS, "blue", tenant.namespace)
    lan = await tenant.cluster_subnet("10.5.0.0/24")
    await tenant.cluster.delete(kinds.of(ClusterSubnet), lan)


def test_what_was_stored_before_it_was_checked_can_be_mended() -> None:
    """By an earlier version, or while the webhook was not there."""
    checker = SubnetChecker(Cache(cast("Cluster", None)))
    broken, whole = (subnet(ranges=[text]) for text in ("10.5.0.20-10.5.0.10", "10.5.0.10-10.5.0.20"))
    for body in (broken, whole):
        body["metadata"]["namespace"] = "demo"
    assert checker.check(whole, broken) == []

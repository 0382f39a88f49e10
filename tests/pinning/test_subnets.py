"""What the CRD's own rules cannot say of a Subnet is said at its admission."""

from tests.pinning.conftest import Tenant
from virtnet.api import ClusterSubnet, Subnet
from virtnet.kube import kinds

DENIED = 'admission webhook "check-subnet.virtnet.dev" denied the request: '
SUBNETS = kinds.of(Subnet)


async def test_a_vpc_that_does_not_exist_yet_is_no_reason(tenant: Tenant) -> None:
    await tenant.subnet("early", "10.0.0.0/24", vpc={"kind": "Vpc", "name": "later"})


async def test_an_unused_subnet_goes(tenant: Tenant) -> None:
    await tenant.cluster.delete(SUBNETS, "blue", tenant.namespace)
    lan = await tenant.cluster_subnet("10.5.0.0/24")
    await tenant.cluster.delete(kinds.of(ClusterSubnet), lan)

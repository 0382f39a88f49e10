"""What the CRD's own rules cannot say of a Subnet is said at its admission."""

from tests.controllers.conftest import until
from tests.pinning.conftest import Admission, Tenant
from tests.pinning.inputs import subnet, user
from tests.pinning.test_refusals import here
from tests.pinning.test_updates import kubectl
from virtnet.api import ClusterSubnet, Port, Subnet
from virtnet.engine.candidate import Candidate
from virtnet.engine.graph import Graph
from virtnet.engine.keys import ObjectKey
from virtnet.features.subnet import SUBNET
from virtnet.features.subnet_check import check_subnet
from virtnet.kube import kinds

SUBNETS = kinds.of(Subnet)


async def test_a_vpc_that_does_not_exist_yet_is_no_reason(tenant: Tenant) -> None:
    await tenant.subnet("early", "10.0.0.0/24", vpc={"kind": "Vpc", "name": "later"})


async def test_an_unused_subnet_goes(tenant: Tenant) -> None:
    await tenant.cluster.delete(SUBNETS, "blue", tenant.namespace)
    lan = await tenant.cluster_subnet("10.5.0.0/24")
    await tenant.cluster.delete(kinds.of(ClusterSubnet), lan)


def test_what_was_stored_before_it_was_checked_can_be_mended() -> None:
    """By an earlier version, or while the webhook was not there."""
    bodies = [subnet(ranges=[text]) for text in ("10.5.0.20-10.5.0.10", "10.5.0.10-10.5.0.20")]
    for body in bodies:
        body["metadata"]["namespace"] = "demo"
    broken, whole = map(Subnet.parse, bodies)
    held = {SUBNET.collection, *SUBNET.check_reads}
    assert check_subnet(whole, broken, Candidate(Graph(), SUBNET.collection, ObjectKey.of(whole), whole, held)) == ()


async def test_who_changes_the_mtu_is_told_who_keeps_the_old_one(admission: Admission, tenant: Tenant) -> None:
    body = here(tenant, user("blue-net"))
    running = {**body, "spec": {**body["spec"], "mtu": 1442}}
    await tenant.cluster.create(kinds.of(Port), running, tenant.namespace)
    patch = ("patch", "subnet", "blue", "--type=merge", '--patch={"spec": {"mtu": 1300}}', "--dry-run=server")

    async def warning() -> str:
        return (await kubectl(admission, tenant, *patch))[1]

    assert await until(warning, "admission knows of the Port") == (
        f"Warning: Subnet {tenant.namespace}/blue: 1 NICs keep their MTU, one of them 1442 of VM {tenant.namespace}/db, NIC "
        "blue, until their VMs or pods are started anew; live migration does not change it\n"
    )

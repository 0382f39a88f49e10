"""Policies that are being deleted: who names one already goes on."""

from tests.controllers.conftest import until
from tests.pinning.conftest import Tenant
from tests.pinning.inputs import asking, going, policy, vm
from virtnet.api import Subnet
from virtnet.api.names import ADDRESSES
from virtnet.api.qos_policy import QOS, QosPolicy
from virtnet.kube import kinds
from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import VMS

POLICIES, SUBNETS = kinds.of(QosPolicy), kinds.of(Subnet)
GOLD = '{"blue": "gold"}'


async def test_who_names_it_already_changes_in_everything_else(tenant: Tenant) -> None:
    await tenant.cluster.create(POLICIES, going("QosPolicy", "gold"), tenant.namespace)
    await tenant.cluster.patch(SUBNETS, "blue", {"spec": {"qosPolicy": {"name": "gold"}}}, tenant.namespace)
    await tenant.create(vm(annotations={QOS: GOLD}))
    await tenant.cluster.delete(POLICIES, "gold", tenant.namespace)

    async def refused() -> bool:
        try:
            await tenant.create(vm("web", annotations={QOS: GOLD}), dry_run=True)
        except Rejected as error:
            return "is being deleted" in str(error)
        return False

    await until(refused, "a VM that names it newly is refused")
    wanted = asking("10.0.0.9")["metadata"]["annotations"][ADDRESSES]
    await tenant.cluster.patch(VMS, "db", {"metadata": {"annotations": {ADDRESSES: wanted}}}, tenant.namespace)
    await tenant.cluster.patch(SUBNETS, "blue", {"spec": {"mtu": 1400}}, tenant.namespace)


async def test_a_policy_made_anew_is_taken_at_once(tenant: Tenant) -> None:
    """Also where the watch has told nothing but the deletion yet."""
    await tenant.cluster.create(POLICIES, policy("QosPolicy", "gold"), tenant.namespace)
    await tenant.cluster.delete(POLICIES, "gold", tenant.namespace)
    await tenant.cluster.create(POLICIES, policy("QosPolicy", "gold"), tenant.namespace)
    await tenant.create(vm(annotations={QOS: GOLD}))

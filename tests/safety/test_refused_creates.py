"""A tenant's creates are refused for want of quota, after admission has given them addresses: nobody lacks these for long.

No controller runs here, so that nothing but admission takes an address back.
"""

from functools import partial

import pytest

from tests.controllers.conftest import until
from tests.pinning.conftest import Tenant, pinned
from tests.pinning.inputs import Body, pod, vm
from virtnet.addressing.pools import LEAST_RESERVED
from virtnet.kube.errors import ApiError
from virtnet.kube.kinds import Kind
from webhooks.reservations import CREATED_WITHIN

SHORT = ("no IPv4 address is left", "addresses for VMs and pods that are not there yet")
QUOTAS = Kind("", "v1", "resourcequotas", namespaced=True)
NICS = 8
MANY_VMS = LEAST_RESERVED // NICS
OF_TINY = (("tiny", "tiny-net"),)
MANY = tuple((f"nic{n}", "lan-net") for n in range(NICS))


async def forbid(tenant: Tenant) -> None:
    """A quota of nothing, with the status that kube-controller-manager would write."""
    hard = {"count/virtualmachines.kubevirt.io": "0", "pods": "0"}
    body: Body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": hard}}
    await tenant.cluster.create(QUOTAS, body, tenant.namespace)
    status = {"status": {"hard": hard, "used": dict.fromkeys(hard, "0")}}
    await tenant.cluster.patch(QUOTAS, "none", status, tenant.namespace, subresource="status")

    async def refuses() -> bool:
        try:
            await tenant.create(vm("probe"), dry_run=True)
        except ApiError as error:
            return "exceeded quota" in str(error)
        return False

    await until(refuses, "the quota")


async def allow(tenant: Tenant) -> None:
    await tenant.cluster.delete(QUOTAS, "none", tenant.namespace)

    async def taken() -> bool:
        try:
            await tenant.create(vm("probe"), dry_run=True)
        except ApiError:
            return False
        return True

    await until(taken, "no quota")


async def admitted(tenant: Tenant, body: Body, *, dry_run: bool = False) -> Body | None:
    """The VM, or None where its Subnet or namespace is short of addresses."""
    try:
        return await tenant.create(body, dry_run=dry_run)
    except ApiError as error:
        if any(text in str(error) for text in SHORT):
            return None
        raise


async def test_what_is_held_for_nobody_is_taken_back_where_a_subnet_or_a_namespace_runs_short(tenant: Tenant) -> None:
    await tenant.subnet("tiny", "10.5.0.0/24", ranges=["10.5.0.10-10.5.0.12"])
    await tenant.nad("tiny-net", '{"cniVersion":"1.1.0","name":"tiny-net","type":"virtnet-cni","subnet":"tiny"}')
    lan = await tenant.cluster_subnet("10.6.0.0/24")
    await tenant.nad(
        "lan-net", f'{{"cniVersion":"1.1.0","name":"lan-net","type":"virtnet-cni","clusterSubnet":"{lan}"}}'
    )
    (alive,) = pinned(await tenant.create(vm("alive", networks=OF_TINY)))["tiny"]

    await forbid(tenant)
    for refused in (vm("refused", networks=OF_TINY), *(vm(f"many{n}", networks=MANY) for n in range(MANY_VMS))):
        with pytest.raises(ApiError, match=f"exceeded quota|{SHORT[1]}"):
            await tenant.create(refused)
    with pytest.raises(ApiError, match="exceeded quota"):
        await tenant.pod(pod("tiny-net", name="refused-pod"))
    await allow(tenant)

    held = await tenant.leases()
    assert await admitted(tenant, vm("first", networks=OF_TINY)) is None, "a create that is under way keeps its address"
    assert await admitted(tenant, vm("more", networks=MANY)) is None

    first, second = (vm(name, networks=OF_TINY) for name in ("first", "second"))
    await until(lambda: admitted(tenant, first, dry_run=True), "an address held for nobody", CREATED_WITHIN + 20)
    assert await tenant.leases() == held, "a dry run takes nothing back"
    found = [await until(partial(admitted, tenant, body), "an address held for nobody") for body in (first, second)]
    assert {alive, *(pinned(body)["tiny"][0] for body in found)} == {"10.5.0.10", "10.5.0.11", "10.5.0.12"}
    assert (await tenant.leases())[alive] == "alive.tiny"
    assert await admitted(tenant, vm("third", networks=OF_TINY)) is None, "the VM that is there keeps its address"
    made = await until(lambda: admitted(tenant, vm("more", networks=MANY)), "addresses of the shared network")
    assert len({address for addresses in pinned(made).values() for address in addresses}) == NICS

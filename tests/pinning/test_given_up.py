"""A NIC asks for what another NIC of the same VM gives up by the same write: free while the VM is stopped."""

import json
from typing import Any

import pytest

from tests.pinning.conftest import Tenant, macs, pinned
from tests.pinning.inputs import Body, asking, instance, vm
from virtnet.api.names import ADDRESSES
from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import VMIS, VMS

TWO = (("a", "blue-net"), ("b", "blue-net"))


def two(a: str, b: str, **more: Any) -> Body:
    return vm(networks=TWO, annotations={ADDRESSES: json.dumps({"a": [a], "b": [b]})}, **more)


async def write(tenant: Tenant, body: Body) -> Body:
    patch = {"metadata": {"annotations": body["metadata"]["annotations"]}, "spec": body["spec"]}
    return await tenant.cluster.patch(VMS, "db", patch, tenant.namespace)


async def test_a_nic_that_gets_another_name(tenant: Tenant) -> None:
    made = await tenant.create(asking("10.0.0.5"))
    mac = macs(made)["blue"]
    nics = (("green", "blue-net"),)
    renamed = vm(networks=nics, macs={"green": mac}, annotations={ADDRESSES: '{"green": ["10.0.0.5"]}'})
    changed = await write(tenant, renamed)
    assert (pinned(changed), macs(changed)) == ({"green": ("10.0.0.5",)}, {"green": mac})
    assert await tenant.leases() == {"10.0.0.5": "db.green", mac: "db.green"}


async def test_two_nics_that_swap(tenant: Tenant) -> None:
    made = await tenant.create(two("10.0.0.5", "10.0.0.6"))
    a, b = macs(made)["a"], macs(made)["b"]
    changed = await write(tenant, two("10.0.0.6", "10.0.0.5", macs={"a": b, "b": a}))
    assert pinned(changed) == {"a": ("10.0.0.6",), "b": ("10.0.0.5",)}
    assert macs(changed) == {"a": b, "b": a}
    assert await tenant.leases() == {"10.0.0.6": "db.a", b: "db.a", "10.0.0.5": "db.b", a: "db.b"}


async def test_not_while_the_guest_uses_them(tenant: Tenant) -> None:
    await tenant.create(two("10.0.0.5", "10.0.0.6"))
    await tenant.cluster.create(VMIS, instance(), tenant.namespace)
    before = await tenant.leases()
    with pytest.raises(Rejected, match="the guest still uses it there; stop the VM, and write this again"):
        await write(tenant, two("10.0.0.6", "10.0.0.5"))
    assert await tenant.leases() == before


async def test_what_another_nic_keeps_is_not_free(tenant: Tenant) -> None:
    await tenant.create(two("10.0.0.5", "10.0.0.6"))
    before = await tenant.leases()
    with pytest.raises(Rejected, match=r"NICs a and b both ask for 10\.0\.0\.6; give them different ones"):
        await write(tenant, two("10.0.0.6", "10.0.0.6"))
    assert await tenant.leases() == before

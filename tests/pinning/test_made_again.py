"""VMs that are cloned, restored, renamed or made again, and the addresses that they had."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.pinning.conftest import LEASES, Tenant, macs, pinned
from tests.pinning.inputs import vm
from virtnet.api import Subnet
from virtnet.api.names import CLAIM
from virtnet.kube import kinds
from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import VMS

ASK = "virtnet.dev/addresses"
BLUE_TOO = (("blue", "blue-net"),)


async def test_a_clone_gets_its_own(tenant: Tenant) -> None:
    first = await tenant.create(vm(networks=(("blue", "blue-net"), ("red", "blue-net"))))
    swapped = {"blue": macs(first)["red"], "red": macs(first)["blue"]}
    copy = vm("copy", networks=(("blue", "blue-net"), ("red", "blue-net")), macs=swapped)
    copy["metadata"]["annotations"] = first["metadata"]["annotations"]
    clone = await tenant.create(copy)
    assert not set(pinned(clone).values()) & set(pinned(first).values())
    assert not set(macs(clone).values()) & set(macs(first).values())


async def test_a_restored_vm_gets_its_own_addresses_back(tenant: Tenant) -> None:
    first = await tenant.create(vm())
    await tenant.cluster.delete(VMS, "db", tenant.namespace)
    again = await tenant.create({**vm(), "metadata": {"name": "db", "annotations": first["metadata"]["annotations"]}})
    assert (pinned(again), macs(again)) == (pinned(first), macs(first))
    assert again["metadata"]["uid"] != first["metadata"]["uid"]


async def test_a_vm_that_is_made_again_takes_over_its_leases(tenant: Tenant) -> None:
    first = await tenant.create(vm(annotations={ASK: '{"blue": ["10.0.0.99"]}'}))
    await tenant.cluster.delete(VMS, "db", tenant.namespace)
    again = await tenant.create(vm())
    assert (pinned(again), macs(again)) == (pinned(first), macs(first))
    for lease in (await tenant.cluster.list(LEASES))[0]:
        if lease["spec"]["holder"]["namespace"] == tenant.namespace:  # who frees it for the first has to look again
            assert CLAIM in lease["metadata"]["annotations"]


async def test_a_vm_made_again_while_its_old_address_cools(tenant: Tenant) -> None:
    """Under its name alone it is as new; with its record, as a restore brings it, it gets its own back."""
    first = await tenant.create(vm())
    await tenant.cluster.delete(VMS, "db", tenant.namespace)
    await freed(tenant, "db", pinned(first)["blue"][0])
    second = await tenant.create(vm())
    assert pinned(second) != pinned(first)
    await tenant.cluster.delete(VMS, "db", tenant.namespace)
    await freed(tenant, "db", pinned(second)["blue"][0])
    restored = await tenant.create(
        {**vm(), "metadata": {"name": "db", "annotations": first["metadata"]["annotations"]}}
    )
    assert (pinned(restored), macs(restored)) == (pinned(first), macs(first))


async def test_a_renamed_vm_takes_its_address_along_once_the_old_one_is_gone(tenant: Tenant) -> None:
    old = await tenant.create(vm("old"))
    address = pinned(old)["blue"][0]
    asking = vm("new", macs=macs(old), annotations={ASK: f'{{"blue": ["{address}"]}}'})
    with pytest.raises(Rejected, match=r"is held by VM .*/old, NIC blue"):
        await tenant.create(asking)
    await tenant.cluster.delete(VMS, "old", tenant.namespace)
    await freed(tenant, "old", address)
    new = await tenant.create(asking)
    assert (pinned(new), macs(new)) == (pinned(old), macs(old))


async def test_a_nic_that_comes_back_has_its_former_address(tenant: Tenant) -> None:
    """As a VM that is restored in place from a snapshot: its own address cools for others, and not for itself."""
    made = await tenant.create(vm("web"))
    (address,) = pinned(made)["blue"]
    await tenant.cluster.delete(VMS, "web", tenant.namespace)
    await freed(tenant, "web", address)
    await cools(tenant, address, port=f"{tenant.namespace}/web.blue")
    async with asyncio.timeout(10):  # until the admission service knows
        while pinned(await tenant.create(vm("web"), dry_run=True)) != pinned(made):
            pass
    assert address not in pinned(await tenant.create(vm("other"), dry_run=True))["blue"]
    again = await tenant.create(vm("web", macs=macs(made)))
    assert (pinned(again), macs(again)) == (pinned(made), macs(made))


async def cools(tenant: Tenant, address: str, port: str = "") -> None:
    until = (datetime.now(UTC) + timedelta(minutes=10)).isoformat()
    status = {"status": {"cooling": [{"address": address, "until": until, "port": port}]}}
    await tenant.cluster.patch(kinds.of(Subnet), "blue", status, tenant.namespace, subresource="status")


async def freed(tenant: Tenant, name: str, address: str) -> None:
    """All leases of the namespace, as the controller frees them; the address that this VM had cools."""
    await cools(tenant, address)
    for lease in (await tenant.cluster.list(LEASES))[0]:
        if lease["spec"]["holder"]["namespace"] == tenant.namespace:
            await tenant.cluster.delete(LEASES, lease["metadata"]["name"])
    async with asyncio.timeout(10):  # until the admission service knows
        while address in pinned(await tenant.create(vm(name), dry_run=True))["blue"]:
            pass

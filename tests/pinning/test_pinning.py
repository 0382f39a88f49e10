"""Every way of writing a VM gives the same: its NICs' addresses in the manifest, leased, and kept."""

import asyncio
import json
from typing import Any

import pytest

from tests.pinning.conftest import Admission, Tenant, vm
from virtnet.api.names import PINNED
from virtnet.kube.errors import ApiError, Rejected
from virtnet.kube.kinds import VMS


def pinned(body: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    record = json.loads(body["metadata"]["annotations"][PINNED])
    return {network: tuple(nic["addresses"]) for network, nic in record["nics"].items()}


def macs(body: dict[str, Any]) -> dict[str, str]:
    devices = body["spec"]["template"]["spec"]["domain"]["devices"]
    return {one["name"]: one.get("macAddress", "") for one in devices["interfaces"]}


async def test_a_plain_manifest_comes_out_with_addresses(tenant: Tenant) -> None:
    made = await tenant.create(vm())
    address, mac = pinned(made)["blue"][0], macs(made)["blue"]
    assert address.startswith("10.0.0.")
    assert await tenant.leases() == {address: "db.blue", mac: "db.blue"}


async def test_a_requested_address_and_mac_are_granted(tenant: Tenant) -> None:
    request = {"network.kubevirt.io/addresses": '{"blue": ["10.0.0.77"]}'}
    made = await tenant.create(vm(template=request, macs={"blue": "02:00:00:00:00:0A"}))
    assert pinned(made) == {"blue": ("10.0.0.77",)}
    assert macs(made) == {"blue": "02:00:00:00:00:0a"}


async def test_a_dry_run_claims_nothing(tenant: Tenant) -> None:
    made = await tenant.create(vm(), dry_run=True)
    assert pinned(made)["blue"]
    assert await tenant.leases() == {}


async def test_every_later_write_keeps_what_is_pinned(tenant: Tenant) -> None:
    cluster, ns = tenant.cluster, tenant.namespace
    made = await tenant.create(vm())
    before, leases = (pinned(made), macs(made)), await tenant.leases()
    applied = await cluster.patch(VMS, "db", {"spec": vm()["spec"]}, ns)  # as `kubectl apply` sends lists: whole
    assert (pinned(applied), macs(applied)) == before
    bare = vm()
    bare["metadata"]["resourceVersion"] = applied["metadata"]["resourceVersion"]
    replaced = await cluster.replace(VMS, "db", bare, ns)
    assert (pinned(replaced), macs(replaced)) == before
    server_side = await cluster.apply(VMS, "db", vm(), ns, manager="kubectl", force=True)
    assert (pinned(server_side), macs(server_side)) == before
    forged = json.dumps({"vm": f"{ns}/db", "nics": {}})
    tampered = await cluster.patch(VMS, "db", {"metadata": {"annotations": {PINNED: forged}}}, ns)
    assert (pinned(tampered), macs(tampered)) == before
    assert await tenant.leases() == leases


async def test_server_side_apply_creates_a_pinned_vm(tenant: Tenant) -> None:
    made = await tenant.cluster.apply(VMS, "db", vm(), tenant.namespace, manager="kubectl")
    assert set(await tenant.leases()) == {pinned(made)["blue"][0], macs(made)["blue"]}


async def test_two_nics_on_one_nad_and_names_of_every_kind(tenant: Tenant) -> None:
    networks = (("blue", "blue-net"), ("Blue_2", f"{tenant.namespace}/blue-net"), ("other", "foreign"))
    name = "v" * 200
    made = await tenant.create(vm(name, networks=networks))
    assert set(pinned(made)) == {"blue", "Blue_2"}
    assert len({*macs(made).values()} - {""}) == 2
    assert macs(made)["other"] == ""
    assert len(await tenant.leases()) == 4


async def test_a_clone_gets_its_own(tenant: Tenant) -> None:
    first = await tenant.create(vm())
    copy = {
        **vm("copy", macs=macs(first)),
        "metadata": {"name": "copy", "annotations": first["metadata"]["annotations"]},
    }
    clone = await tenant.create(copy)
    assert pinned(clone) != pinned(first)
    assert macs(clone) != macs(first)


async def test_a_restored_vm_gets_its_own_addresses_back(tenant: Tenant) -> None:
    first = await tenant.create(vm())
    await tenant.cluster.delete(VMS, "db", tenant.namespace)
    again = await tenant.create({**vm(), "metadata": {"name": "db", "annotations": first["metadata"]["annotations"]}})
    assert (pinned(again), macs(again)) == (pinned(first), macs(first))
    fresh = await tenant.cluster.get(VMS, "db", tenant.namespace)
    assert fresh["metadata"]["uid"] != first["metadata"]["uid"]


async def test_a_new_address_is_pinned_when_it_is_asked_for(tenant: Tenant) -> None:
    await tenant.create(vm())
    patch = {"metadata": {"annotations": {"virtnet.dev/addresses": '{"blue": ["10.0.0.9"]}'}}}
    assert pinned(await tenant.cluster.patch(VMS, "db", patch, tenant.namespace)) == {"blue": ("10.0.0.9",)}


async def test_a_reserved_address_comes_without_asking(tenant: Tenant) -> None:
    await tenant.subnet("red", "10.1.0.0/29", reservations=[{"address": "10.1.0.5", "vm": "db"}])
    await tenant.nad("red-net", '{"type":"virtnet-cni","subnet":"red"}')
    assert pinned(await tenant.create(vm(networks=(("red", "red-net"),)))) == {"red": ("10.1.0.5",)}


async def test_without_virtnet_networks_nothing_is_touched(tenant: Tenant) -> None:
    made = await tenant.create(vm(networks=(("other", "foreign"),)))
    assert PINNED not in made["metadata"].get("annotations", {})


async def test_the_record_goes_with_the_last_nic(tenant: Tenant) -> None:
    made = await tenant.create(vm())
    bare = vm(networks=())
    bare["metadata"] = {
        **bare["metadata"],
        "annotations": made["metadata"]["annotations"],
        "resourceVersion": made["metadata"]["resourceVersion"],
    }
    replaced = await tenant.cluster.replace(VMS, "db", bare, tenant.namespace)
    assert PINNED not in replaced["metadata"].get("annotations", {})


ASK = "virtnet.dev/addresses"


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        pytest.param(vm(annotations={ASK: '{"blue": ["10.0.1.5"]}'}), "NIC blue: 10.0.1.5 is outside 10.0.0.0/24; choose an address of that network", id="outside"),
        pytest.param(vm(annotations={ASK: '{"blue": ["10.0.0.1"]}'}), "NIC blue: 10.0.0.1 is the gateway; choose another", id="gateway"),
        pytest.param(vm(annotations={ASK: '{"blue": ["10.0.0.0"]}'}), "is the network address", id="network address"),
        pytest.param(vm(annotations={ASK: '{"blue": ["10.0.0.255"]}'}), "is the broadcast address", id="broadcast address"),
        pytest.param(vm(annotations={ASK: '{"blue": ["ten"]}'}), "ten is not an IPv4 address", id="malformed"),
        pytest.param(vm(annotations={ASK: '{"blue": ["10.0.0.5", "10.0.0.6"]}'}), "asks for 2 addresses", id="too many"),
        pytest.param(vm(annotations={ASK: '{"green": ["10.0.0.5"]}'}), "the VM has no network green; it has blue", id="unknown network"),
        pytest.param(vm(annotations={ASK: "blue=10.0.0.5"}), "must be JSON like", id="not JSON"),
        pytest.param(vm(annotations={ASK: '{"blue": "10.0.0.5"}'}), "blue has no list of addresses", id="no list"),
        pytest.param(vm(annotations={ASK: '{"blue": ["10.0.0.5"]}'}, template={ASK: '{"blue": ["10.0.0.6"]}'}), "ask for both 10.0.0.5 and 10.0.0.6", id="contradiction"),
        pytest.param(vm(macs={"blue": "01:00:5e:00:00:01"}), "is a multicast address", id="multicast MAC"),
        pytest.param(vm(networks=(("blue", "nowhere"),)), "nowhere does not exist; create it first", id="NAD missing"),
        pytest.param(vm(networks=(("a", "blue-net"), ("b", "blue-net")), annotations={ASK: '{"a": ["10.0.0.5"], "b": ["10.0.0.5"]}'}), "NICs a and b both ask for 10.0.0.5", id="twins"),
        pytest.param(vm(networks=(("a", "blue-net"), ("b", "blue-net")), macs={"a": "02:00:00:00:00:01", "b": "02:00:00:00:00:01"}), "both ask for 02:00:00:00:00:01", id="twin MACs"),
    ],
)  # fmt: skip
async def test_refusals_say_what_where_and_what_to_do(tenant: Tenant, manifest: dict[str, Any], message: str) -> None:
    with pytest.raises(Rejected) as refusal:
        await tenant.create(manifest)
    assert message in str(refusal.value)
    assert await tenant.leases() == {}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param('{"type":"virtnet-cni"}', "must name one Subnet", id="no Subnet"),
        pytest.param(
            '{"type":"virtnet-cni","subnet":"blue","clusterSubnet":"blue"}', "must name one Subnet", id="two Subnets"
        ),
        pytest.param(
            '{"type":"virtnet-cni","subnet":"gone"}', "which does not exist; create it first", id="Subnet missing"
        ),
        pytest.param('{"type":"virtnet-cni",', "spec.config is not JSON", id="not JSON"),
    ],
)
async def test_a_nad_that_leads_nowhere_is_refused(tenant: Tenant, config: str, message: str) -> None:
    await tenant.nad("odd", config)
    with pytest.raises(Rejected) as refusal:
        await tenant.create(vm(networks=(("odd", "odd"),)))
    assert message in str(refusal.value)


async def test_a_held_address_is_refused_with_its_holder(tenant: Tenant) -> None:
    ask = {"virtnet.dev/addresses": '{"blue": ["10.0.0.5"]}'}
    await tenant.create(vm(annotations=ask, macs={"blue": "02:00:00:00:00:05"}))
    where = f"Subnet {tenant.namespace}/blue"
    with pytest.raises(Rejected) as refusal:
        await tenant.create(vm("web", annotations=ask))
    assert (
        f"{where}: 10.0.0.5 is held by VM {tenant.namespace}/db, NIC blue; choose another or remove the request"
        in str(refusal.value)
    )
    with pytest.raises(Rejected) as refusal:
        await tenant.create(vm("web", macs={"blue": "02:00:00:00:00:05"}))
    assert "02:00:00:00:00:05 is held by VM" in str(refusal.value)
    assert set((await tenant.leases()).values()) == {"db.blue"}


async def test_a_full_subnet_says_so(tenant: Tenant) -> None:
    await tenant.subnet("tiny", "10.2.0.0/30")
    await tenant.nad("tiny-net", '{"type":"virtnet-cni","subnet":"tiny"}')
    await tenant.create(vm(networks=(("tiny", "tiny-net"),)))
    with pytest.raises(Rejected, match="no address is left for NIC tiny of its 1; delete VMs"):
        await tenant.create(vm("web", networks=(("blue", "blue-net"), ("tiny", "tiny-net"))))
    assert set((await tenant.leases()).values()) == {"db.tiny"}


async def create_all(tenant: Tenant, manifests: list[dict[str, Any]]) -> list[dict[str, Any] | ApiError]:
    limit = asyncio.Semaphore(50)

    async def one(manifest: dict[str, Any]) -> dict[str, Any] | ApiError:
        async with limit:
            try:
                return await tenant.create(manifest)
            except ApiError as error:
                return error

    return await asyncio.gather(*map(one, manifests))


async def test_two_replicas_share_a_pool_exactly(tenant: Tenant) -> None:
    await tenant.subnet("pool", "10.3.0.0/24", ranges=["10.3.0.10-10.3.0.159"])
    await tenant.nad("pool-net", '{"type":"virtnet-cni","subnet":"pool"}')
    manifests = [vm(f"vm{n}-{'ab'[n % 2]}", networks=(("pool", "pool-net"),)) for n in range(200)]
    results = await create_all(tenant, manifests)
    made = [one for one in results if isinstance(one, dict)]
    refused = [str(one) for one in results if isinstance(one, ApiError)]
    assert len(made) == 150
    assert all("no address is left" in text for text in refused), refused
    addresses = [pinned(one)["pool"][0] for one in made]
    assert len(set(addresses)) == 150
    assert set(await tenant.leases()) == {*addresses, *(macs(one)["pool"] for one in made)}


async def test_a_replica_that_dies_in_the_middle_gives_no_address_twice(tenant: Tenant, admission: Admission) -> None:
    manifests = [vm(f"vm{n}-{'ab'[n % 2]}") for n in range(80)]
    work = asyncio.create_task(create_all(tenant, manifests))
    async with asyncio.timeout(20):
        while len(await tenant.leases()) < 20:  # noqa: ASYNC110 - the API server tells nobody else
            await asyncio.sleep(0)
    admission.replicas["b"].daemon.kill()
    results = await work
    await asyncio.to_thread(admission.replicas["b"].start)
    retried = await create_all(tenant, [m for m, r in zip(manifests, results, strict=True) if isinstance(r, ApiError)])
    assert [str(one) for one in retried if isinstance(one, ApiError)] == []
    made = [one for one in (*results, *retried) if isinstance(one, dict)]
    addresses = [pinned(one)["blue"][0] for one in made]
    assert len(made) == len(set(addresses)) == 80
    assert {*addresses, *(macs(one)["blue"] for one in made)} <= set(await tenant.leases())

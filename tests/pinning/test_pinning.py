"""Every way of writing a VM gives the same: its NICs' addresses in the manifest, leased, and kept."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest

from tests.pinning.conftest import LEASES, Tenant, macs, pinned
from tests.pinning.inputs import vm
from virtnet.api import Subnet
from virtnet.api.names import PINNED
from virtnet.kube import kinds
from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import VMS

ASK = "virtnet.dev/addresses"
BLUE_TOO = (("blue", "blue-net"),)


async def test_a_plain_manifest_comes_out_with_addresses(tenant: Tenant) -> None:
    made = await tenant.create(vm())
    address, mac = pinned(made)["blue"][0], macs(made)["blue"]
    assert address.startswith("10.0.0.")
    assert await tenant.leases() == {address: "db.blue", mac: "db.blue"}
    assert json.loads(made["metadata"]["annotations"][PINNED]) == {
        "vm": f"{tenant.namespace}/db",
        "nics": {
            "blue": {
                "nad": f"{tenant.namespace}/blue-net",
                "subnet": {"kind": "Subnet", "namespace": tenant.namespace, "name": "blue"},
                "mac": mac,
                "addresses": [address],
            }
        },
    }


@pytest.mark.parametrize(
    ("own", "template"),
    [
        pytest.param({ASK: '{"blue": ["10.0.0.77"]}'}, None, id="on the VM"),
        pytest.param(None, {ASK: '{"blue": ["10.0.0.77"]}'}, id="on its template"),
        pytest.param(
            None, {"network.kubevirt.io/addresses": '{"blue": ["10.0.0.77"]}'}, id="as ipam-extensions has it"
        ),
        pytest.param({ASK: '{"blue": ["10.0.0.77"]}'}, {ASK: '{"blue": ["10.0.0.77"]}'}, id="twice the same"),
    ],
)
async def test_a_requested_address_and_mac_are_granted(
    tenant: Tenant, own: dict[str, str] | None, template: dict[str, str] | None
) -> None:
    made = await tenant.create(vm(annotations=own, template=template, macs={"blue": "02:00:00:00:00:0A"}))
    assert pinned(made) == {"blue": ("10.0.0.77",)}
    assert macs(made) == {"blue": "02:00:00:00:00:0a"}
    assert await tenant.leases() == {"10.0.0.77": "db.blue", "02:00:00:00:00:0a": "db.blue"}


async def test_no_nic_gets_by_choice_what_the_other_asks_for(tenant: Tenant) -> None:
    networks = tuple((f"n{n}", "tiny-net") for n in range(5))
    await tenant.subnet("tiny", "10.2.0.0/29")
    await tenant.nad("tiny-net", '{"type":"virtnet-cni","subnet":"tiny"}')
    made = await tenant.create(vm(networks=networks, annotations={ASK: '{"n4": ["10.2.0.3"]}'}))
    assert pinned(made)["n4"] == ("10.2.0.3",)
    assert sorted(a for addresses in pinned(made).values() for a in addresses) == [f"10.2.0.{n}" for n in range(2, 7)]


async def test_a_dry_run_claims_nothing(tenant: Tenant) -> None:
    made = await tenant.create(vm(networks=(("a", "blue-net"), ("b", "blue-net"))), dry_run=True)
    assert pinned(made)["a"] != pinned(made)["b"]
    assert await tenant.leases() == {}


async def test_a_dry_run_says_what_would_be_refused(tenant: Tenant) -> None:
    await tenant.create(vm(annotations={ASK: '{"blue": ["10.0.0.5"]}'}))
    before = await tenant.cluster.list(LEASES)
    with pytest.raises(Rejected, match=r"10\.0\.0\.5 is held by VM"):
        await tenant.create(vm("web", annotations={ASK: '{"blue": ["10.0.0.5"]}'}), dry_run=True)
    assert (await tenant.cluster.list(LEASES))[0] == before[0]


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
    for forged in (json.dumps({"vm": f"{ns}/db", "nics": {}}), json.dumps({"vm": f"{ns}/x", "nics": {}}), "{}", None):
        tampered = await cluster.patch(VMS, "db", {"metadata": {"annotations": {PINNED: forged}}}, ns)
        assert (pinned(tampered), macs(tampered)) == before
    assert await tenant.leases() == leases


async def test_server_side_apply_creates_a_pinned_vm(tenant: Tenant) -> None:
    made = await tenant.cluster.apply(VMS, "db", vm(), tenant.namespace, manager="kubectl")
    assert set(await tenant.leases()) == {pinned(made)["blue"][0], macs(made)["blue"]}


async def test_a_name_that_the_server_makes_is_known_in_time(tenant: Tenant) -> None:
    nameless = {**vm(), "metadata": {"generateName": "db-"}}
    made = [await tenant.create(nameless) for _ in range(2)]
    names = [one["metadata"]["name"] for one in made]
    assert all(name.startswith("db-") and len(name) == 8 for name in names)
    assert set((await tenant.leases()).values()) == {f"{name}.blue" for name in names}


async def test_two_nics_on_one_nad_and_names_of_every_kind(tenant: Tenant) -> None:
    networks = (("blue", "blue-net"), ("Blue_2", f"{tenant.namespace}/blue-net"), ("other", "foreign"))
    manifest = vm("v" * 200, networks=networks)
    manifest["spec"]["template"]["spec"]["hostname"] = "another"
    made = await tenant.create(manifest)
    assert set(pinned(made)) == {"blue", "Blue_2"}
    assert len({*macs(made).values()} - {""}) == 2
    assert macs(made)["other"] == ""
    assert len(await tenant.leases()) == 4


async def test_a_list_of_plugins_and_a_cluster_subnet(tenant: Tenant) -> None:
    lan = await tenant.cluster_subnet("10.7.0.0/24", allowedNamespaces=[tenant.namespace])
    plugins = [{"type": "tuning"}, {"type": "virtnet-cni", "clusterSubnet": lan}]
    await tenant.nad("lan-net", json.dumps({"cniVersion": "1.1.0", "name": "lan", "plugins": plugins}))
    assert pinned(await tenant.create(vm(networks=(("lan", "lan-net"),))))["lan"][0].startswith("10.7.0.")


async def test_ranges_are_extended_and_moved_while_they_are_in_use(tenant: Tenant) -> None:
    await tenant.subnet("red", "10.1.0.0/24", ranges=["10.1.0.5"])
    await tenant.nad("red-net", '{"type":"virtnet-cni","subnet":"red"}')
    red = (("red", "red-net"),)
    first = await tenant.create(vm(networks=red))
    with pytest.raises(Rejected, match="no IPv4 address is left"):
        await tenant.create(vm("web", networks=red))
    await tenant.cluster.patch(kinds.of(Subnet), "red", {"spec": {"ranges": ["10.1.0.7"]}}, tenant.namespace)
    async with asyncio.timeout(10):  # until the admission service knows
        while True:
            with suppress(Rejected):
                second = await tenant.create(vm("web", networks=red))
                break
    assert pinned(second) == {"red": ("10.1.0.7",)}
    changed = await tenant.cluster.patch(VMS, "db", {"spec": vm(networks=(*red, *BLUE_TOO))["spec"]}, tenant.namespace)
    assert pinned(changed)["red"] == pinned(first)["red"] == ("10.1.0.5",), "what a VM has, it keeps"


async def test_a_new_address_is_pinned_when_it_is_asked_for(tenant: Tenant) -> None:
    first = await tenant.create(vm())
    patch = {"metadata": {"annotations": {ASK: '{"blue": ["10.0.0.9"]}'}}}
    second = await tenant.cluster.patch(VMS, "db", patch, tenant.namespace)
    assert pinned(second) == {"blue": ("10.0.0.9",)}
    assert macs(second) == macs(first)
    leases = await tenant.leases()  # the first is freed by the controller, when no pod uses it
    assert set(leases) == {"10.0.0.9", pinned(first)["blue"][0], macs(first)["blue"]}


async def test_a_nic_on_another_network_keeps_its_mac(tenant: Tenant) -> None:
    await tenant.subnet("red", "10.1.0.0/24")
    await tenant.nad("red-net", '{"type":"virtnet-cni","subnet":"red"}')
    first = await tenant.create(vm())
    moved = await tenant.cluster.patch(
        VMS, "db", {"spec": vm(networks=(("blue", "red-net"),))["spec"]}, tenant.namespace
    )
    assert pinned(moved)["blue"][0].startswith("10.1.0.")
    assert macs(moved) == macs(first)


async def test_a_nic_that_is_to_be_unplugged_is_pinned_no_more(tenant: Tenant) -> None:
    made = await tenant.create(vm(networks=(("blue", "blue-net"), ("hot", "blue-net"))))
    spec = made["spec"]
    spec["template"]["spec"]["domain"]["devices"]["interfaces"][1]["state"] = "absent"
    unplugged = await tenant.cluster.patch(VMS, "db", {"spec": spec}, tenant.namespace)
    assert pinned(unplugged) == {"blue": pinned(made)["blue"]}
    del spec["template"]["spec"]["domain"]["devices"]["interfaces"][1]["state"]
    assert pinned(await tenant.cluster.patch(VMS, "db", {"spec": spec}, tenant.namespace)) == pinned(made)


async def test_a_reserved_address_comes_without_asking(tenant: Tenant) -> None:
    reservations = [{"address": f"10.1.0.{n}", "vm": "db"} for n in (5, 6)]
    await tenant.subnet("red", "10.1.0.0/29", reservations=reservations, excludes=["10.1.0.6"])
    await tenant.nad("red-net", '{"type":"virtnet-cni","subnet":"red"}')
    made = await tenant.create(vm(networks=(("a", "red-net"), ("b", "red-net"))))
    assert set(pinned(made).values()) == {("10.1.0.5",), ("10.1.0.6",)}


async def test_without_virtnet_networks_nothing_is_touched(tenant: Tenant) -> None:
    made = await tenant.create(vm(networks=(("other", "foreign"),), template={ASK: "nonsense"}))
    assert PINNED not in made["metadata"].get("annotations", {})
    assert macs(made) == {"other": ""}


async def test_the_record_goes_with_the_last_nic(tenant: Tenant) -> None:
    made = await tenant.create(vm())
    bare = vm(networks=())
    version = made["metadata"]["resourceVersion"]
    bare["metadata"] |= {"annotations": made["metadata"]["annotations"], "resourceVersion": version}
    replaced = await tenant.cluster.replace(VMS, "db", bare, tenant.namespace)
    assert PINNED not in replaced["metadata"].get("annotations", {})


async def test_what_the_vms_controllers_write_is_not_asked_about(tenant: Tenant) -> None:
    made = await tenant.create(vm())
    finalizer = {
        "metadata": {"finalizers": ["virtnet.dev/test"], "labels": {"a": "b"}},
        "spec": {"runStrategy": "Always"},
    }
    written = await tenant.cluster.patch(VMS, "db", finalizer, tenant.namespace)
    started = await tenant.cluster.patch(VMS, "db", {"status": {"ready": True}}, tenant.namespace, subresource="status")
    await tenant.cluster.delete(VMS, "db", tenant.namespace)
    dying: dict[str, Any] = {"metadata": {"finalizers": None, "annotations": {PINNED: None}}}
    ended = await tenant.cluster.patch(VMS, "db", dying, tenant.namespace)
    assert pinned(written) == pinned(started) == pinned(made)
    assert PINNED not in ended["metadata"].get("annotations", {})

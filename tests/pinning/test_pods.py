"""Pods come out of admission with all that their node needs, and with nothing that they brought themselves."""

import json
from typing import Any

import pytest

from tests.pinning.conftest import Tenant, macs, pinned
from tests.pinning.inputs import vm
from virtnet.api import AddressLease, Port
from virtnet.api.multus import DEFAULT_NETWORK, NETWORKS
from virtnet.api.names import ATTACHED_LABEL, ATTACHMENTS, pod_interface, port_name
from virtnet.kube import kinds
from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import IPAM_CLAIMS, PODS, VMIS, VMS

DENIED = 'admission webhook "mark-pod.virtnet.dev" denied the request: '
BLUE = pod_interface("blue")
PORTS = kinds.of(Port)


def pod(name: str = "web", networks: Any = "blue-net", **metadata: Any) -> dict[str, Any]:
    """A pod as people write it. ``networks``: Multus' annotation, as text or as what becomes JSON."""
    text = networks if isinstance(networks, str) else json.dumps(networks)
    annotations = {**({NETWORKS: text} if text else {}), **metadata.pop("annotations", {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations, **metadata},
        "spec": {"containers": [{"name": "main", "image": "none"}]},
    }


def launcher(
    *interfaces: str,
    name: str = "virt-launcher-db-x",
    instance: str = "db",
    nad: str = "blue-net",
    labels: dict[str, str] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """A pod as virt-controller makes it, in what is read of it."""
    owner = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "name": instance,
        "uid": "ef919a10-9221-4b1c-98a0-a2062e75933a",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    networks = [{"name": nad, "interface": interface} for interface in interfaces or (BLUE,)]
    found = {"kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": "a-hostname", **(labels or {})}
    return pod(name, networks, ownerReferences=[owner], labels=found, **metadata)


def attachments(body: dict[str, Any]) -> dict[str, Any]:
    assert body["metadata"]["labels"][ATTACHED_LABEL] == "true"
    found: dict[str, Any] = json.loads(body["metadata"]["annotations"][ATTACHMENTS])
    return found


def unmarked(body: dict[str, Any]) -> bool:
    metadata = body["metadata"]
    return ATTACHMENTS not in metadata.get("annotations", {}) and ATTACHED_LABEL not in metadata.get("labels", {})


async def test_a_launcher_pod_gets_what_its_vm_was_pinned_to(tenant: Tenant) -> None:
    ns = tenant.namespace
    await tenant.subnet(
        "red", "10.1.0.0/16", mtu=1400, routes=[{"destination": "192.168.0.0/16", "gateway": "10.1.0.9"}]
    )
    await tenant.nad("red-net", '{"type":"virtnet-cni","subnet":"red"}')
    made = await tenant.create(vm(networks=(("blue", "blue-net"), ("Red_1", "red-net"), ("other", "foreign"))))
    body = launcher(BLUE)
    selected = json.loads(body["metadata"]["annotations"][NETWORKS])
    selected += [
        {"name": "red-net", "namespace": ns, "interface": pod_interface("Red_1")},
        {"name": "foreign", "interface": pod_interface("other")},
    ]
    body["metadata"]["annotations"][NETWORKS] = json.dumps(selected)
    found = attachments(await tenant.pod(body))
    assert found == {
        BLUE: {
            "port": f"{ns}/db.blue",
            "network": "blue",
            "nad": f"{ns}/blue-net",
            "subnet": {"kind": "Subnet", "namespace": ns, "name": "blue"},
            "mac": macs(made)["blue"],
            "addresses": [f"{pinned(made)['blue'][0]}/24"],
            "gateways": ["10.0.0.1"],
            "mtu": 1442,
        },
        pod_interface("Red_1"): {
            "port": f"{ns}/{port_name('db', 'Red_1')}",
            "network": "Red_1",
            "nad": f"{ns}/red-net",
            "subnet": {"kind": "Subnet", "namespace": ns, "name": "red"},
            "mac": macs(made)["Red_1"],
            "addresses": [f"{pinned(made)['Red_1'][0]}/16"],
            "routes": [{"destination": "192.168.0.0/16", "gateway": "10.1.0.9"}],
            "mtu": 1400,
        },
    }


async def test_a_nic_in_the_place_of_the_pod_network(tenant: Tenant) -> None:
    manifest = vm()
    manifest["spec"]["template"]["spec"]["networks"][0]["multus"]["default"] = True
    made = await tenant.create(manifest)
    body = launcher(annotations={DEFAULT_NETWORK: f"{tenant.namespace}/blue-net", NETWORKS: ""})
    (found,) = attachments(await tenant.pod(body)).items()
    assert (found[0], found[1]["mac"]) == ("eth0", macs(made)["blue"])


async def test_a_migration_target_takes_what_the_running_guest_has(tenant: Tenant) -> None:
    ns = tenant.namespace
    made = await tenant.create(vm())
    port = {
        "apiVersion": "virtnet.dev/v1alpha1",
        "kind": "Port",
        "metadata": {"name": "db.blue"},
        "spec": {
            "owner": {"kind": "VirtualMachine", "name": "db"},
            "network": "blue",
            "networkAttachmentDefinition": f"{ns}/blue-net",
            "subnet": {"kind": "Subnet", "namespace": ns, "name": "blue"},
            "macAddress": macs(made)["blue"],
            "addresses": list(pinned(made)["blue"]),
        },
    }
    await tenant.cluster.create(PORTS, port, ns)
    ask = {"metadata": {"annotations": {"virtnet.dev/addresses": '{"blue": ["10.0.0.200"]}'}}}
    await tenant.cluster.patch(VMS, "db", ask, ns)
    target = launcher(name="target", labels={"kubevirt.io/migrationJobUID": "f69c7482"})
    assert attachments(await tenant.pod(target))[BLUE]["addresses"] == [f"{pinned(made)['blue'][0]}/24"]
    assert attachments(await tenant.pod(launcher(name="restarted")))[BLUE]["addresses"] == ["10.0.0.200/24"]


async def test_a_migration_to_another_network_takes_what_is_pinned_there(tenant: Tenant) -> None:
    ns = tenant.namespace
    await tenant.create(vm())
    port = {
        "apiVersion": "virtnet.dev/v1alpha1",
        "kind": "Port",
        "metadata": {"name": "db.blue"},
        "spec": {
            "owner": {"kind": "VirtualMachine", "name": "db"},
            "network": "blue",
            "networkAttachmentDefinition": f"{ns}/blue-net",
            "subnet": {"kind": "Subnet", "namespace": ns, "name": "blue"},
            "macAddress": "02:00:00:00:00:01",
            "addresses": ["10.0.0.5"],
        },
    }
    await tenant.cluster.create(PORTS, port, ns)
    await tenant.subnet("red", "10.1.0.0/24")
    await tenant.nad("red-net", '{"type":"virtnet-cni","subnet":"red"}')
    moved = await tenant.cluster.patch(VMS, "db", {"spec": vm(networks=(("blue", "red-net"),))["spec"]}, ns)
    target = launcher(nad="red-net", labels={"kubevirt.io/migrationJobUID": "f69c7482"})
    assert attachments(await tenant.pod(target))[BLUE]["addresses"] == [f"{pinned(moved)['blue'][0]}/24"]


async def test_a_hotplugged_nic_comes_in_and_the_others_stay(tenant: Tenant) -> None:
    ns = tenant.namespace
    first = await tenant.create(vm())
    made = await tenant.pod(launcher())
    networks = (("blue", "blue-net"), ("new", "blue-net"))
    ask = {"virtnet.dev/addresses": '{"blue": ["10.0.0.200"], "new": ["10.0.0.201"]}'}
    await tenant.cluster.patch(VMS, "db", {"metadata": {"annotations": ask}, "spec": vm(networks=networks)["spec"]}, ns)
    selected = [{"name": "blue-net", "interface": BLUE}, {"name": "blue-net", "interface": pod_interface("new")}]
    plugged = {"metadata": {"annotations": {NETWORKS: json.dumps(selected)}}}
    found = attachments(await tenant.cluster.patch(PODS, made["metadata"]["name"], plugged, ns))
    assert found[BLUE]["addresses"] == [f"{pinned(first)['blue'][0]}/24"]
    assert found[pod_interface("new")]["addresses"] == ["10.0.0.201/24"]
    unplugged = {"metadata": {"annotations": {NETWORKS: json.dumps(selected[1:])}}}
    left = await tenant.cluster.patch(PODS, made["metadata"]["name"], unplugged, ns)
    assert set(attachments(left)) == {pod_interface("new")}


async def test_a_vmi_without_a_vm_is_pinned_with_its_pod(tenant: Tenant) -> None:
    template = vm()["spec"]["template"]["spec"]
    ask = {"network.kubevirt.io/addresses": '{"blue": ["10.0.0.42"]}'}
    vmi = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "spec": template}
    await tenant.cluster.create(VMIS, {**vmi, "metadata": {"name": "bare", "annotations": ask}}, tenant.namespace)
    found = attachments(await tenant.pod(launcher(name="one", instance="bare")))
    assert found[BLUE]["addresses"] == ["10.0.0.42/24"]
    again = launcher(name="two", instance="bare", labels={"kubevirt.io/migrationJobUID": "x"})
    assert attachments(await tenant.pod(again)) == found
    assert await tenant.leases() == {"10.0.0.42": "bare.blue", found[BLUE]["mac"]: "bare.blue"}


@pytest.mark.parametrize(
    ("networks", "interfaces"),
    [
        pytest.param("blue-net", ("net1",), id="short form"),
        pytest.param("foreign, NS/blue-net@data", ("data",), id="short form with namespace and interface"),
        pytest.param("foreign,blue-net", ("net2",), id="counted as Multus does"),
        pytest.param([{"name": "blue-net"}, {"name": "blue-net", "interface": "x"}], ("net1", "x"), id="JSON"),
    ],
)
async def test_an_ordinary_pod_holds_addresses_of_its_own(
    tenant: Tenant, networks: Any, interfaces: tuple[str, ...]
) -> None:
    text = networks if isinstance(networks, str) else json.dumps(networks)
    found = attachments(await tenant.pod(pod(networks=text.replace("NS", tenant.namespace))))
    assert tuple(found) == interfaces
    assert all(one["configure"] for one in found.values())
    held = {(one["addresses"][0].removesuffix("/24"), one["port"]) for one in found.values()}
    held |= {(one["mac"], one["port"]) for one in found.values()}
    assert {(address, f"{tenant.namespace}/{port}") for address, port in (await tenant.leases()).items()} == held


async def test_an_ordinary_pod_asks_in_its_selection(tenant: Tenant) -> None:
    element = {"name": "blue-net", "ips": ["10.0.0.66/24"], "mac": "02:00:00:00:00:66", "default-route": ["10.0.0.1"]}
    (found,) = attachments(await tenant.pod(pod(networks=[element]))).values()
    assert (found["addresses"], found["mac"], found["gateways"]) == (
        ["10.0.0.66/24"],
        "02:00:00:00:00:66",
        ["10.0.0.1"],
    )


async def test_a_pod_of_a_deployment_is_named_in_time(tenant: Tenant) -> None:
    body = pod(generateName="web-5d9c-")
    del body["metadata"]["name"]
    made = await tenant.pod(body)
    name = made["metadata"]["name"]
    assert name.startswith("web-5d9c-")
    assert attachments(made)["net1"]["port"].startswith(f"{tenant.namespace}/{name}.net1-pod-")


async def test_a_pod_of_a_stateful_set_has_what_it_had_when_it_is_made_again(tenant: Tenant) -> None:
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "u", "controller": True}
    member = pod("web-0", ownerReferences=[owner])
    first = attachments(await tenant.pod(member))
    await tenant.cluster.delete(PODS, "web-0", tenant.namespace)
    assert attachments(await tenant.pod(member)) == first
    items, _ = await tenant.cluster.list(kinds.of(AddressLease))
    ours = [item["spec"]["holder"] for item in items if item["spec"]["holder"]["namespace"] == tenant.namespace]
    assert {holder["owner"]["statefulSet"] for holder in ours} == {"web"}


async def test_an_ipam_claim_has_a_say(tenant: Tenant) -> None:
    """ipam-extensions writes the reference. What the claim has is asked for by an ordinary pod; a VM was pinned before."""
    await tenant.nad("kept-net", '{"type":"virtnet-cni","subnet":"blue","allowPersistentIPs":true}')
    element = {"name": "kept-net", "ipam-claim-reference": "data"}
    with pytest.raises(Rejected, match=r"IPAMClaim .*/data, which is to be used on .*/kept-net, does not exist"):
        await tenant.pod(pod(networks=[element]))
    body = {"apiVersion": "k8s.cni.cncf.io/v1alpha1", "kind": "IPAMClaim", "metadata": {"name": "data"}}
    claim = {**body, "spec": {"network": "kept-net", "interface": "net1"}}
    await tenant.cluster.create(IPAM_CLAIMS, claim, tenant.namespace)
    fresh = attachments(await tenant.pod(pod("fresh", [element])))["net1"]
    assert fresh["ipamClaim"] == "data"
    status = {"status": {"ips": ["10.0.0.88/24"]}}
    await tenant.cluster.patch(IPAM_CLAIMS, "data", status, tenant.namespace, subresource="status")
    assert attachments(await tenant.pod(pod("again", [element])))["net1"]["addresses"] == ["10.0.0.88/24"]

    made = await tenant.create(vm(networks=(("blue", "kept-net"),)))
    body = launcher()
    body["metadata"]["annotations"][NETWORKS] = json.dumps([{**element, "interface": BLUE}])
    found = attachments(await tenant.pod(body))[BLUE]
    assert (found["ipamClaim"], found["addresses"]) == ("data", [f"{pinned(made)['blue'][0]}/24"])


async def test_a_claim_is_nothing_where_its_nad_does_not_ask_for_it(tenant: Tenant) -> None:
    element = {"name": "blue-net", "ipam-claim-reference": "of-nobody"}
    found = attachments(await tenant.pod(pod(networks=[element])))["net1"]
    assert "ipamClaim" not in found


async def test_a_pod_never_takes_over_what_a_vm_of_its_name_holds(tenant: Tenant) -> None:
    reservations = [{"address": "10.1.0.5", "vm": "db"}]
    await tenant.subnet("red", "10.1.0.0/24", reservations=reservations)
    await tenant.nad("red-net", '{"type":"virtnet-cni","subnet":"red"}')
    made = await tenant.create(vm(networks=(("red", "red-net"),)))
    (found,) = attachments(await tenant.pod(pod("db", [{"name": "red-net", "interface": "red"}]))).values()
    assert found["addresses"] != [f"{pinned(made)['red'][0]}/24"]
    assert found["mac"] != macs(made)["red"]
    assert len(await tenant.leases()) == 4


async def test_a_dry_run_claims_nothing(tenant: Tenant) -> None:
    assert attachments(await tenant.pod(pod(), dry_run=True))
    assert await tenant.leases() == {}


async def test_a_pod_that_brings_its_own_is_not_believed(tenant: Tenant) -> None:
    forged = {"net1": {"port": "demo/db.blue", "network": "blue", "nad": "demo/blue-net", "mac": "02:00:00:00:00:01"}}
    brought = {"annotations": {ATTACHMENTS: json.dumps(forged)}, "labels": {ATTACHED_LABEL: "true"}}
    assert unmarked(await tenant.pod(pod("bare", networks="", **brought)))
    assert unmarked(await tenant.pod(pod("foreign", networks="foreign", **brought)))
    assert attachments(await tenant.pod(pod("ours", **brought)))["net1"]["mac"] != "02:00:00:00:00:01"


@pytest.mark.parametrize("subresource", [pytest.param("", id="pod"), pytest.param("status", id="status")])
async def test_nobody_alters_it_later(tenant: Tenant, subresource: str) -> None:
    made = await tenant.pod(pod())
    before = attachments(made)
    for patch in (
        {"annotations": {ATTACHMENTS: "{}"}},
        {"annotations": {ATTACHMENTS: None}},
        {"labels": {ATTACHED_LABEL: None}},
        {"labels": {ATTACHED_LABEL: "false"}, "annotations": {"x": "y"}},
    ):
        altered = await tenant.cluster.patch(
            PODS, "web", {"metadata": patch}, tenant.namespace, subresource=subresource
        )
        assert attachments(altered) == before
    plain = await tenant.pod(pod("plain", networks=""))
    forged = {"metadata": {"annotations": {ATTACHMENTS: made["metadata"]["annotations"][ATTACHMENTS]}}}
    ns = tenant.namespace
    altered = await tenant.cluster.patch(PODS, plain["metadata"]["name"], forged, ns, subresource=subresource)
    assert unmarked(altered)


async def test_kubevirts_other_pods_are_untouched(tenant: Tenant) -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "virt-launcher-db-x", "uid": "1", "controller": True}
    labels = {"kubevirt.io": "hotplug-disk"}
    assert unmarked(await tenant.pod(pod("hp-volume", networks="", ownerReferences=[owner], labels=labels)))


async def test_a_launcher_pod_without_a_pin_is_refused(tenant: Tenant) -> None:
    ns = tenant.namespace
    with pytest.raises(Rejected) as refusal:
        await tenant.pod(launcher(instance="nobody"))
    assert str(refusal.value) == f"{DENIED}VMI {ns}/nobody, whose pod this says it is, does not exist"
    await tenant.create(vm(networks=(("other", "foreign"),)))
    with pytest.raises(Rejected) as refusal:
        await tenant.pod(launcher())
    assert str(refusal.value) == (
        f"{DENIED}VM {ns}/db has no pinned addresses, it was written while virtnet was not asked; "
        "apply it again, so that its admission can pin them"
    )
    await tenant.create(vm("web"))
    with pytest.raises(Rejected) as refusal:
        await tenant.pod(launcher(pod_interface("red"), instance="web"))
    assert str(refusal.value) == (
        f"{DENIED}VM web in {ns}: its NIC {pod_interface('red')} on {ns}/blue-net is not pinned in Subnet {ns}/blue; "
        "remove the VM's annotation virtnet.dev/pinned, and its admission pins it anew"
    )

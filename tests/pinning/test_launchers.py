"""A VM's pods come out of admission with what their VM was pinned to."""

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.controllers.conftest import until
from tests.pinning.conftest import Tenant, macs, pinned
from tests.pinning.inputs import vm
from tests.pinning.pods import BLUE, attachments, launcher, pod, unmarked
from virtnet.api import Port, Subnet
from virtnet.api.multus import DEFAULT_NETWORK, NETWORKS
from virtnet.api.names import pod_interface, port_name
from virtnet.kube import kinds
from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import EVENTS, PODS, VMIS, VMS
from webhooks.refused_launchers import REASON

DENIED = 'admission webhook "mark-pod.virtnet.dev" denied the request: '
PORTS = kinds.of(Port)


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


async def runs(tenant: Tenant, mac: str, addresses: list[str], mtu: int = 1400) -> None:
    """VM ``db`` has this on its NIC ``blue``."""
    port = {
        "apiVersion": "virtnet.dev/v1alpha1",
        "kind": "Port",
        "metadata": {"name": "db.blue"},
        "spec": {
            "owner": {"kind": "VirtualMachine", "name": "db"},
            "network": "blue",
            "networkAttachmentDefinition": f"{tenant.namespace}/blue-net",
            "subnet": {"kind": "Subnet", "namespace": tenant.namespace, "name": "blue"},
            "macAddress": mac,
            "addresses": addresses,
            "mtu": mtu,
        },
    }
    await tenant.cluster.create(PORTS, port, tenant.namespace)


async def test_a_migration_target_takes_what_the_running_guest_has(tenant: Tenant) -> None:
    ns = tenant.namespace
    made = await tenant.create(vm())
    await runs(tenant, macs(made)["blue"], list(pinned(made)["blue"]))
    ask = {"metadata": {"annotations": {"virtnet.dev/addresses": '{"blue": ["10.0.0.200"]}'}}}
    await tenant.cluster.patch(VMS, "db", ask, ns)
    target = launcher(name="target", labels={"kubevirt.io/migrationJobUID": "f69c7482"})
    found = attachments(await tenant.pod(target))[BLUE]
    assert (found["addresses"], found["mtu"]) == ([f"{pinned(made)['blue'][0]}/24"], 1400)
    found = attachments(await tenant.pod(launcher(name="restarted")))[BLUE]
    assert (found["addresses"], found["mtu"]) == (["10.0.0.200/24"], 1442)


async def test_a_second_family_comes_with_the_next_start(tenant: Tenant) -> None:
    """And with that after it, the same; a migration brings none."""
    ns = tenant.namespace
    made = await tenant.create(vm())
    (four,) = pinned(made)["blue"]
    await runs(tenant, macs(made)["blue"], [four])
    both = {"spec": {"cidrs": ["10.0.0.0/24", "fd00::/64"]}}
    await tenant.cluster.patch(kinds.of(Subnet), "blue", both, ns)

    async def start(name: str, **more: Any) -> list[str]:
        return list(attachments(await tenant.pod(launcher(name=name, **more)))[BLUE]["addresses"])

    async def two() -> list[str]:
        found = await start(f"first-{uuid4().hex[:5]}")
        return found if len(found) == 2 else []

    first = await until(two, "admission knows of the second family")
    assert (first[0], first[1][:6]) == (f"{four}/24", "fd00::")
    assert await start("again") == first
    assert await start("target", labels={"kubevirt.io/migrationJobUID": "f69c7482"}) == first[:1]
    assert set(await tenant.leases()) >= {four, first[1].partition("/")[0]}


async def test_a_migration_to_another_network_takes_what_is_pinned_there(tenant: Tenant) -> None:
    ns = tenant.namespace
    await tenant.create(vm())
    await runs(tenant, "02:00:00:00:00:01", ["10.0.0.5"])
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
    second = attachments(await tenant.pod(again))
    assert second[BLUE].pop("claim")  # by which its leases, that were claimed again, are its own
    assert second == found
    assert await tenant.leases() == {"10.0.0.42": "bare.blue", found[BLUE]["mac"]: "bare.blue"}


async def test_kubevirts_other_pods_are_untouched(tenant: Tenant) -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "virt-launcher-db-x", "uid": "1", "controller": True}
    labels = {"kubevirt.io": "hotplug-disk"}
    assert unmarked(await tenant.pod(pod("hp-volume", networks="", ownerReferences=[owner], labels=labels)))


async def events(tenant: Tenant) -> list[tuple[str, str, str]]:
    """Kind and name of what Events of refused launchers are about, and what they say."""
    items, _ = await tenant.cluster.list(EVENTS, tenant.namespace)
    refused = [item for item in items if item["reason"] == REASON]
    return [(item["regarding"]["kind"], item["regarding"]["name"], item["note"]) for item in refused]


async def test_a_vm_whose_pod_is_refused_says_why(tenant: Tenant) -> None:
    """Once, however often KubeVirt tries; a bare instance likewise, and what is no launcher is told to its maker alone."""
    await tenant.create(vm("db", networks=(("blue", "foreign"),)))
    vmi = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "spec": vm()["spec"]["template"]["spec"]}
    await tenant.cluster.create(VMIS, {**vmi, "metadata": {"name": "bare"}}, tenant.namespace)
    why: list[str] = []
    for body in (
        launcher(),
        launcher(name="again"),
        launcher(name="x", instance="bare", nad="none"),
        pod(networks="none"),
    ):
        with pytest.raises(Rejected) as refusal:
            await tenant.pod(body)
        why.append(str(refusal.value).removeprefix(DENIED))
    with pytest.raises(Rejected):
        await tenant.pod(launcher(instance="unknown"), dry_run=True)

    async def both() -> bool:
        return len(await events(tenant)) == 2

    await until(both, "an Event on each of the two")
    assert set(await events(tenant)) == {
        ("VirtualMachine", "db", why[0]),
        ("VirtualMachineInstance", "bare", why[2]),
    }


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

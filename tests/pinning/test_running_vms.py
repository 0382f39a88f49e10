"""No write of virtnet's makes a running VM differ from its instance in what KubeVirt compares: else it wants a restart.

The instance follows the VM as virt-controller lets it, and is compared as virt-controller does.
"""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.pinning.conftest import Tenant, macs, pinned
from tests.pinning.inputs import vm
from virtnet.api.names import ADDRESSES, NIC, PINNED, ROUTES
from virtnet.api.qos_policy import QOS
from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import VMS
from virtnet.lab.standin import hotplug
from virtnet.lab.standin.live_update import restart_required
from virtnet.lab.standin.objects import vmi_of

Body = dict[str, Any]
NETWORKS = (("blue", "blue-net"), ("second", "blue-net"), ("other", "foreign"))
FOREIGN_MAC = {"other": "02:00:00:00:00:99"}


def devices(body: Body) -> list[Body]:
    found: list[Body] = body["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"]
    return found


def state(network: str, text: str) -> Callable[[Body], None]:
    def change(body: Body) -> None:
        next(one for one in devices(body) if one["name"] == network)["state"] = text

    return change


def annotate(**texts: str) -> Callable[[Body], None]:
    return lambda body: body["metadata"].setdefault("annotations", {}).update(texts)


def add(body: Body) -> None:
    devices(body).append({"name": "new", "bridge": {}})
    body["spec"]["template"]["spec"]["networks"].append({"name": "new", "multus": {"networkName": "blue-net"}})


def move(body: Body) -> None:
    body["spec"]["template"]["spec"]["networks"][1]["multus"]["networkName"] = "red-net"


def turn(body: Body) -> None:
    devices(body).reverse()
    body["spec"]["template"]["spec"]["networks"].reverse()


UPDATES: dict[str, Callable[[Body], None]] = {
    "nothing": lambda body: None,
    "a label": lambda body: body["metadata"].update(labels={"tier": "web"}),
    "a label of the template": lambda body: body["spec"]["template"]["metadata"].update(labels={"tier": "web"}),
    "an address asked for": annotate(**{ADDRESSES: '{"blue": ["10.0.0.200"]}'}),
    "routes": annotate(**{ROUTES: '{"blue": [{"destination": "192.168.0.0/16"}]}'}),
    "a policy": annotate(**{QOS: '{"blue": "gold"}'}),
    "a kind": annotate(**{NIC: '{"blue": "veth"}'}),
    "KubeVirt's own annotation": lambda body: body["spec"]["template"]["metadata"].update(
        annotations={"network.kubevirt.io/addresses": '{"second": ["10.0.0.201"]}'}
    ),
    "a NIC added": add,
    "a NIC moved": move,
    "a NIC unplugged": state("second", "absent"),
    "the last NICs unplugged": lambda body: [state(name, "absent")(body) for name in ("blue", "second")],  # type: ignore[dict-item]  # nobody asks
    "another plugin's NIC unplugged": state("other", "absent"),
    "a link down": state("blue", "down"),
    "another order": turn,
    "a record of another VM": annotate(**{PINNED: json.dumps({"vm": "else/where", "nics": {}})}),
}


@pytest.fixture
async def runs(tenant: Tenant) -> tuple[Body, Body]:
    """A VM as it was written, without MACs but for another plugin's NIC, and its instance."""
    await tenant.subnet("red", "10.1.0.0/24")
    await tenant.nad("red-net", '{"cniVersion":"1.1.0","name":"red-net","type":"virtnet-cni","subnet":"red"}')
    manifest = vm(networks=NETWORKS, macs=FOREIGN_MAC)
    made = await tenant.create(manifest)
    await tenant.cluster.patch(VMS, "db", {"status": {"created": True}}, tenant.namespace, subresource="status")
    return manifest, vmi_of(made)


async def applied(tenant: Tenant, manifest: Body, *, whole: bool) -> Body:
    """As it is stored then. ``whole``: PUT, as a pool's controller does; else as kubectl and GitOps tools patch it."""
    if not whole:
        patch = {**manifest, "metadata": {key: value for key, value in manifest["metadata"].items() if key != "name"}}
        return await tenant.cluster.patch(VMS, "db", patch, tenant.namespace)
    there = await tenant.cluster.get(VMS, "db", tenant.namespace)
    kept = {key: there["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
    body = {**manifest, "metadata": {**manifest["metadata"], **kept}}
    return await tenant.cluster.replace(VMS, "db", body, tenant.namespace)


@pytest.mark.parametrize("whole", [False, True], ids=["patched", "put"])
@pytest.mark.parametrize("change", UPDATES.values(), ids=UPDATES)
async def test_no_update_makes_a_running_vm_want_a_restart(
    tenant: Tenant, runs: tuple[Body, Body], change: Callable[[Body], None], whole: bool
) -> None:
    """A manifest that never had its MACs is changed, applied, and applied once more while KubeVirt is at it."""
    manifest, vmi = deepcopy(runs[0]), runs[1]
    change(manifest)
    for _ in range(2):
        stored = await applied(tenant, manifest, whole=whole)
        hotplug.copy_to_instance(vmi, stored)
        assert restart_required(stored, vmi) == ""
    assert {one["name"]: one.get("macAddress") for one in vmi["spec"]["domain"]["devices"]["interfaces"]}.items() >= {
        name: mac for name, mac in macs(stored).items() if mac
    }.items()


async def test_a_nic_goes_by_a_manifest_that_never_had_its_mac(tenant: Tenant, runs: tuple[Body, Body]) -> None:
    manifest, vmi = deepcopy(runs[0]), runs[1]
    state("second", "absent")(manifest)
    for _ in range(2):
        stored = await applied(tenant, manifest, whole=False)
        hotplug.copy_to_instance(vmi, stored)
        assert hotplug.absent(vmi["spec"]) == {"second"}
        assert restart_required(stored, vmi) == ""
        assert set(pinned(stored)) == {"blue"}
    del manifest["spec"]["template"]["spec"]["networks"][1], devices(manifest)[1]
    hotplug.remove(vmi["spec"], {"second"})
    assert restart_required(await applied(tenant, manifest, whole=False), vmi) == ""


async def test_the_mac_of_another_plugins_nic_is_its_owners(tenant: Tenant, runs: tuple[Body, Body]) -> None:
    manifest = deepcopy(runs[0])
    state("other", "absent")(manifest)
    del next(one for one in devices(manifest) if one["name"] == "other")["macAddress"]
    assert macs(await applied(tenant, manifest, whole=False))["other"] == ""


async def test_a_guest_that_runs_keeps_its_mac_in_another_subnet(tenant: Tenant, runs: tuple[Body, Body]) -> None:
    """KubeVirt moves the guest, and its MAC with it: where that is another's, the NIC cannot go."""
    taken = macs(await tenant.cluster.get(VMS, "db", tenant.namespace))["second"]
    other = vm("rival", networks=(("red", "red-net"),), macs={"red": taken})
    await tenant.create(other)
    manifest = deepcopy(runs[0])
    move(manifest)
    with pytest.raises(Rejected) as refusal:
        await applied(tenant, manifest, whole=False)
    assert str(refusal.value).endswith(
        f"Subnet {tenant.namespace}/red: {taken} is held by VM {tenant.namespace}/rival, NIC red; the guest that runs "
        "cannot take another MAC; stop the VM before you move its NIC second there"
    )
    await tenant.cluster.patch(VMS, "db", {"status": {"created": None}}, tenant.namespace, subresource="status")
    assert macs(await applied(tenant, manifest, whole=False))["second"] != taken

"""A tenant writes what its pods would like to be attached to, by every way that leads to a pod."""

import contextlib
import json
from typing import Any
from uuid import uuid4

import pytest

from tests.controllers.conftest import until
from tests.safety.tenants import ATTACKER, PRIVATE, SHARED, VICTIM, Body, Scene, marks_of, vm
from virtnet.api.multus import NETWORKS
from virtnet.api.names import ATTACHED_LABEL, ATTACHMENTS, pod_interface
from virtnet.kube.errors import ApiError, Rejected
from virtnet.kube.kinds import PODS, VMIS, VMS, Kind

BINDINGS = Kind("", "v1", "bindings")


def attachment(port: str = f"{VICTIM}/victim.shared", address: str = "10.70.0.1/24", subnet: Body = PRIVATE) -> str:
    """What a tenant would like its node to be told."""
    one = {"port": port, "network": "shared", "nad": f"{ATTACKER}/shared-net", "subnet": subnet, "mtu": 1442}
    return json.dumps({"net1": {**one, "mac": "02:00:00:00:00:99", "addresses": [address]}})


FORGED = attachment()
MARKS: Body = {"metadata": {"annotations": {ATTACHMENTS: FORGED}, "labels": {ATTACHED_LABEL: "true"}}}


def pod(name: str, networks: Any = None, **metadata: Any) -> Body:
    annotations = {NETWORKS: json.dumps(networks)} if networks else {}
    annotations |= metadata.pop("annotations", {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations, **metadata},
        "spec": {"containers": [{"name": "c", "image": "c", "resources": {"limits": {"cpu": "1"}}}]},
    }


def name_of(what: str) -> str:
    return f"{what}-{uuid4().hex[:8]}"


async def stored(scene: Scene, name: str) -> Body:
    return await scene.admin.get(PODS, name, ATTACKER)


async def test_a_create_with_marks(scene: Scene) -> None:
    before = scene.security()
    for name, more in ((name_of("plain"), {}), (name_of("dying"), {"deletionTimestamp": "2020-01-01T00:00:00Z"})):
        body = pod(name, annotations={ATTACHMENTS: FORGED}, labels={ATTACHED_LABEL: "true"}, **more)
        await scene.attacker.apply(PODS, name, body, ATTACKER, manager="evil", force=True)
        found = await stored(scene, name)
        assert ATTACHMENTS not in found["metadata"].get("annotations", {})
        assert ATTACHED_LABEL not in found["metadata"].get("labels", {})
    await scene.harmless(before)


WAYS = pytest.mark.parametrize("way", ["", "status", "ephemeralcontainers", "resize"])


@WAYS
@pytest.mark.parametrize("networks", [None, [{"name": "shared-net"}]], ids=["no network", "a network"])
@pytest.mark.parametrize("dying", [False, True], ids=["living", "being deleted"])
async def test_an_update_with_marks(scene: Scene, way: str, networks: Any, dying: bool) -> None:
    """Whoever may write the subresource: the administrator stands for kubelets' and tenants' further rights."""
    before, name = scene.security(), name_of("updated")
    body = pod(name, networks, finalizers=["tenant.example/hold"])
    body["spec"]["nodeName"] = "node1"
    made = await scene.attacker.create(PODS, body, ATTACKER)
    if dying:
        await scene.attacker.delete(PODS, name, ATTACKER)
    for marks in (MARKS, {"metadata": {**MARKS["metadata"], "deletionTimestamp": "2020-01-01T00:00:00Z"}}):
        with contextlib.suppress(ApiError):  # what is refused has changed nothing
            await scene.admin.patch(PODS, name, marks, ATTACKER, subresource=way)
        assert marks_of(await stored(scene, name)) == marks_of(made)
    await scene.harmless(before)


@pytest.mark.parametrize("kind", [BINDINGS, PODS], ids=["bindings", "pods/binding"])
@pytest.mark.parametrize("field", ["annotations", "labels"])
async def test_a_binding_with_marks(scene: Scene, kind: Kind, field: str) -> None:
    """A Binding's annotations become the pod's, and no webhook for pods is asked."""
    before, name = scene.security(), name_of("bound")
    made = await scene.attacker.create(PODS, pod(name), ATTACKER)
    target = {"apiVersion": "v1", "kind": "Node", "name": "node1"}
    binding: Body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
    forged = {**binding, "metadata": {"name": name, field: MARKS["metadata"][field]}}
    with pytest.raises(Rejected, match="a Binding may not set annotations or labels of virtnet"):
        await bind(scene, kind, name, forged)
    assert marks_of(await stored(scene, name)) == marks_of(made)
    await bind(scene, kind, name, binding)
    assert (await stored(scene, name))["spec"]["nodeName"] == "node1"
    await scene.harmless(before)


async def bind(scene: Scene, kind: Kind, name: str, body: Body) -> None:
    where = Kind("", "v1", f"pods/{name}/binding") if kind is PODS else kind
    await scene.admin.create(where, body, ATTACKER)


def launcher(name: str, instance: str, api: str = "kubevirt.io/v1") -> Body:
    owner = {"apiVersion": api, "kind": "VirtualMachineInstance", "name": instance, "uid": str(uuid4())}
    networks = [{"name": "shared-net", "interface": pod_interface("shared")}]
    return pod(name, networks, ownerReferences=[{**owner, "controller": True}])


async def test_a_launcher_of_nobody(scene: Scene) -> None:
    """Owners are of the pod's own namespace: "victim" there is another's."""
    before = scene.security()
    for instance in ("victim", "../victim", "..", "tenant-b/victim"):
        with pytest.raises(ApiError):
            await scene.attacker.create(PODS, launcher(name_of("launcher"), instance), ATTACKER)
    await scene.harmless(before)


async def test_a_launcher_of_ones_own_vm(scene: Scene) -> None:
    """A tenant may take its own VM's port: it gets what the VM was granted, in its own namespace."""
    before, name = scene.security(), name_of("own")
    await scene.attacker.create(VMS, vm(name), ATTACKER)
    security = await scene.in_ovn(f"{ATTACKER}/{name}.shared")
    made = await scene.attacker.create(PODS, launcher(name_of("launcher"), name), ATTACKER)
    (found,) = json.loads(marks_of(made)).values()
    assert found["port"] == f"{ATTACKER}/{name}.shared"
    assert " ".join((found["mac"], *(one.partition("/")[0] for one in found["addresses"]))) == security
    await scene.harmless(before)


async def test_an_instance_of_ones_own_with_anothers_name(scene: Scene) -> None:
    before = scene.security()
    spec = vm("victim")["spec"]["template"]["spec"]
    body = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": "victim"}}
    await scene.attacker.create(VMIS, {**body, "spec": spec}, ATTACKER)
    made = await scene.attacker.create(PODS, launcher(name_of("launcher"), "victim"), ATTACKER)
    (found,) = json.loads(marks_of(made)).values()
    assert (found["port"], found["subnet"]) == (f"{ATTACKER}/victim.shared", SHARED)
    assert found["mac"] not in before[f"{VICTIM}/victim.shared"]
    await scene.harmless(before)


async def test_an_owner_that_only_looks_like_kubevirts(scene: Scene) -> None:
    """Webhook and controller agree on whose pod it is: an ordinary one, with addresses of its own."""
    before, vm_name, name = scene.security(), name_of("own"), name_of("ordinary")
    await scene.attacker.create(VMS, vm(vm_name), ATTACKER)
    security = await scene.in_ovn(f"{ATTACKER}/{vm_name}.shared")
    made = await scene.attacker.create(PODS, launcher(name, vm_name, api="tenant.example/v1"), ATTACKER)
    (found,) = json.loads(marks_of(made)).values()
    await scene.in_ovn(found["port"])

    async def owned() -> Any:
        return (await scene.ports(ATTACKER)).get(found["port"])

    port = await until(owned, "the pod's Port")
    assert (port.spec.owner.kind, port.spec.owner.name) == ("Pod", name)
    assert scene.security()[f"{ATTACKER}/{vm_name}.shared"] == security
    await scene.harmless(before)

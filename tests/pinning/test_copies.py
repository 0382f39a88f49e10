"""A VM whose manifest is a copy of another's: a clone, a restore under another name, what a backup tool brings back.

The copies are as KubeVirt 1.9.0 makes them: labels, annotations and spec of the source, MACs emptied by a clone.
"""

import json
from typing import Any

import pytest

from tests.pinning.conftest import Admission, Tenant, macs, pinned, settle
from tests.pinning.inputs import Body, vm
from tests.pinning.test_server import VM, review
from virtnet.api.meta import annotations_of
from virtnet.api.names import ADDRESSES, KUBEVIRT_ADDRESSES, PINNED
from virtnet.kube.kinds import VMS

REQUEST = json.dumps({"blue": ["10.0.0.77"]})
WAYS: list[dict[str, Any]] = [
    {"annotations": {ADDRESSES: REQUEST}},
    {"template": {ADDRESSES: REQUEST}},
    {"template": {KUBEVIRT_ADDRESSES: REQUEST}},
]


def clone(source: Body, name: str = "copy") -> Body:
    annotations = {key: value for key, value in annotations_of(source).items() if not key.startswith("kubectl")}
    spec = json.loads(json.dumps(source["spec"]))
    for interface in spec["template"]["spec"]["domain"]["devices"]["interfaces"]:
        interface["macAddress"] = ""
    api = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine"}
    return {**api, "metadata": {"name": name, "annotations": annotations}, "spec": spec}


def requests_of(body: Body) -> list[str]:
    template = body["spec"]["template"].get("metadata", {}).get("annotations") or {}
    return [name for name in (*annotations_of(body), *template) if name in (ADDRESSES, KUBEVIRT_ADDRESSES)]


@pytest.mark.parametrize("way", WAYS, ids=["annotation", "template", "KubeVirt's"])
async def test_a_copy_gets_addresses_of_its_own(tenant: Tenant, way: dict[str, Any]) -> None:
    """And asks for no others from then on: when the source goes, the copy keeps what it has."""
    source = await tenant.create(vm(**way))
    assert pinned(source) == {"blue": ("10.0.0.77",)}
    made = await tenant.create(clone(source))
    assert pinned(made) != pinned(source)
    assert macs(made) != macs(source)
    assert requests_of(source)
    assert not requests_of(made)
    await tenant.cluster.delete(VMS, "db", tenant.namespace)
    started = await tenant.cluster.patch(VMS, "copy", {"spec": {"runStrategy": "Always"}}, tenant.namespace)
    assert pinned(started) == pinned(made)


async def test_whoever_copies_is_told(admission: Admission, tenant: Tenant) -> None:
    source = await tenant.create(vm(annotations={ADDRESSES: REQUEST}))
    body = clone(source)
    body["metadata"]["namespace"] = tenant.namespace
    _, answer = await admission.replicas["a"].post("pin-vm", review(VM, object=body, dryRun=True))
    assert answer["response"]["allowed"]
    assert answer["response"]["warnings"] == [
        f"NIC blue: the addresses that it asks for are those of VM {tenant.namespace}/db, of which this VM is a copy; it "
        "gets its own, and the request is removed"
    ]


async def test_a_copy_asks_itself_for_what_is_not_the_sources(tenant: Tenant) -> None:
    source = await tenant.create(vm(annotations={ADDRESSES: REQUEST}))
    body = clone(source)
    body["metadata"]["annotations"][ADDRESSES] = json.dumps({"blue": ["10.0.0.78"]})
    made = await tenant.create(body)
    assert pinned(made) == {"blue": ("10.0.0.78",)}
    assert requests_of(made) == [ADDRESSES]


async def test_in_another_namespace_it_gets_the_same_address(tenant: Tenant) -> None:
    """A backup that is brought back elsewhere: there, its Subnet is another, in which nobody has the address."""
    source = await tenant.create(vm(annotations={ADDRESSES: REQUEST}))
    elsewhere = await settle(tenant.cluster)
    made = await elsewhere.create(clone(source, "db"))
    assert pinned(made) == {"blue": ("10.0.0.77",)}
    assert json.loads(annotations_of(made)[PINNED])["vm"] == f"{elsewhere.namespace}/db"

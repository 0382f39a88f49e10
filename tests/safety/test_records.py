"""A tenant writes what it would like to have been pinned, wherever admission might not look at it."""

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.controllers.conftest import until
from tests.safety.tenants import ATTACKER, PRIVATE, SHARED, VICTIM, Body, Scene, record, record_of, vm
from virtnet.api import Subnet
from virtnet.api.names import PINNED
from virtnet.kube import kinds
from virtnet.kube.errors import NotFound, Rejected
from virtnet.kube.kinds import NADS, VMS

LONG_AGO = "2020-01-01T00:00:00Z"
HOLD = "tenant.example/hold"

FORGED = pytest.mark.parametrize(
    ("addresses", "subnet"),
    [
        pytest.param(("10.70.0.1",), PRIVATE, id="the gateway of another's Subnet"),
        pytest.param(("10.70.0.99",), PRIVATE, id="a free address of another's Subnet"),
        pytest.param(("10.50.0.1", "fd50::1"), SHARED, id="the gateway"),
        pytest.param(("10.50.0.0", "fd50::"), SHARED, id="the network"),
        pytest.param(("0.0.0.0/1", "128.0.0.0/1"), SHARED, id="everything"),
        pytest.param((), SHARED, id="nothing, which is no port security"),
        pytest.param(("10.99.0.5",), SHARED, id="outside of the Subnet"),
        pytest.param(("10.50.0.5",), {"kind": "ClusterSubnet", "name": "private.tenant-b"}, id="a Subnet of no name"),
    ],
)


@FORGED
async def test_a_create_that_says_it_is_being_deleted(scene: Scene, addresses: tuple[str, ...], subnet: Body) -> None:
    before, name = scene.security(), f"ssa-{uuid4().hex[:8]}"
    forged = record(name, *addresses, subnet=subnet)
    body = vm(name, forged, deletionTimestamp=LONG_AGO)
    try:
        made = await scene.attacker.apply(VMS, name, body, ATTACKER, manager="evil", force=True)
    except Rejected:  # what is refused is not there either
        with pytest.raises(NotFound):
            await scene.admin.get(VMS, name, ATTACKER)
    else:
        granted = json.loads(record_of(made))["nics"]["shared"]
        assert granted["subnet"] == SHARED
        assert not set(granted["addresses"]) & set(addresses)
        await scene.in_ovn(f"{ATTACKER}/{name}.shared")
    await scene.harmless(before)


@FORGED
async def test_a_vm_that_is_being_deleted(scene: Scene, addresses: tuple[str, ...], subnet: Body) -> None:
    before, name = scene.security(), f"held-{uuid4().hex[:8]}"
    made = await scene.attacker.create(VMS, vm(name, finalizers=[HOLD]), ATTACKER)
    own = await scene.in_ovn(f"{ATTACKER}/{name}.shared")
    await scene.attacker.delete(VMS, name, ATTACKER)
    forged = json.dumps(record(name, *addresses, subnet=subnet))
    patch: Body = {"metadata": {"annotations": {PINNED: forged}}}
    changed = await scene.attacker.patch(VMS, name, patch, ATTACKER)
    assert record_of(changed) == record_of(made)
    applied = vm(name, forged, finalizers=[HOLD])
    changed = await scene.attacker.apply(VMS, name, applied, ATTACKER, manager="evil", force=True)
    assert record_of(changed) == record_of(made)
    await scene.harmless(before)
    assert scene.security()[f"{ATTACKER}/{name}.shared"] == own


async def test_the_addresses_of_somebody_who_has_them(scene: Scene) -> None:
    """What is asked for by a record is granted or refused as what is asked for in any other way."""
    before = scene.security()
    mac, *addresses = before[f"{VICTIM}/victim.shared"].split()
    for name, body in (
        ("thief", vm("thief", record("thief", *addresses), deletionTimestamp=LONG_AGO)),
        ("thief2", vm("thief2", record("thief2", "10.50.0.77", "fd50::77", mac=mac), deletionTimestamp=LONG_AGO)),
    ):
        with pytest.raises(Rejected, match="is held by a NIC of another namespace"):
            await scene.attacker.apply(VMS, name, body, ATTACKER, manager="evil", force=True)
    await scene.harmless(before)


async def test_a_deletion_never_waits_for_virtnet(scene: Scene) -> None:
    """Subnet and NetworkAttachmentDefinition are gone by then, and the record is kept, whatever is written."""
    api: dict[str, Any] = {"apiVersion": "virtnet.dev/v1alpha1", "kind": "Subnet", "metadata": {"name": "brief"}}
    subnet = {**api, "spec": {"vpc": {"kind": "Vpc", "name": "own"}, "cidrs": ["10.61.0.0/24"]}}
    nad = {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "brief-net"},
        "spec": {"config": '{"cniVersion":"1.1.0","name":"brief-net","type":"virtnet-cni","subnet":"brief"}'},
    }
    await scene.attacker.create(kinds.of(Subnet), subnet, ATTACKER)
    await scene.attacker.create(NADS, nad, ATTACKER)
    made = await scene.attacker.create(VMS, vm("brief", nad="brief-net", finalizers=[HOLD]), ATTACKER)
    await scene.in_ovn(f"{ATTACKER}/brief.shared")
    await scene.attacker.delete(VMS, "brief", ATTACKER)
    await scene.attacker.delete(NADS, "brief-net", ATTACKER)
    forced = {"metadata": {"annotations": {PINNED: json.dumps(record("brief", "10.50.0.1"))}}}
    kept = await scene.attacker.patch(VMS, "brief", forced, ATTACKER)
    assert record_of(kept) == record_of(made)
    await scene.attacker.patch(VMS, "brief", {"metadata": {"finalizers": []}}, ATTACKER)

    async def gone() -> bool:
        return f"{ATTACKER}/brief.shared" not in scene.security()

    await until(gone, "the VM's port gone")

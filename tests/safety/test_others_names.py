"""What a tenant is told of addresses that are others': that they are taken, and not by whom."""

import json

import pytest

from tests.safety.tenants import ATTACKER, VICTIM, Scene, vm
from virtnet.api import ClusterSubnet
from virtnet.api.names import ADDRESSES
from virtnet.kube import kinds
from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import VMS


async def refusal(scene: Scene, address: str) -> str:
    body = vm("curious")
    body["metadata"]["annotations"] = {ADDRESSES: json.dumps({"shared": [address]})}
    with pytest.raises(Rejected) as refused:
        await scene.attacker.create(VMS, body, ATTACKER)
    return str(refused.value)


async def test_a_held_address_is_held_by_another_namespace(scene: Scene) -> None:
    held = next(
        key.partition(" ")[0]
        for key, port in (await scene.leases()).items()
        if port.startswith(f"{VICTIM}/") and key.startswith("10.50.0.")
    )
    said = await refusal(scene, held)
    assert f"{held} is held by a NIC of another namespace; choose another" in said
    assert VICTIM not in said


async def test_a_reserved_address_is_reserved_for_another_namespace(scene: Scene) -> None:
    kind = kinds.of(ClusterSubnet)
    reservation = {"address": "10.50.0.222", "vm": f"{VICTIM}/shop"}
    await scene.admin.patch(kind, "shared", {"spec": {"reservations": [reservation]}})
    try:
        said = await refusal(scene, "10.50.0.222")
    finally:
        await scene.admin.patch(kind, "shared", {"spec": {"reservations": None}})
    assert "10.50.0.222 is reserved for a VM of another namespace; choose another" in said
    assert VICTIM not in said

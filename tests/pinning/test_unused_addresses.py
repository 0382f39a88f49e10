"""An address that was held for a VM that never came is free at once: no guest has used it, and nobody confuses it."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast
from unittest.mock import patch

import pytest

from tests.pinning.api_server import NS, Clock, Server
from tests.pinning.inputs import subnet
from virtnet.api import AddressLease, AddressLeaseSpec, Holder, Owner, Subnet, SubnetRef
from virtnet.api.lease import lease_name
from virtnet.api.meta import Metadata
from virtnet.controllers import owners as owners_module
from virtnet.controllers.owners import Owners
from virtnet.controllers.ownership import RESERVED_FOR
from virtnet.controllers.state import OWN, ControllerState
from virtnet.engine.due import Task
from virtnet.engine.keys import ObjectKey
from virtnet.kube import kinds
from virtnet.kube.client import Cluster

BLUE = SubnetRef(kind="Subnet", namespace=NS, name="blue")
SUBNETS, LEASES = kinds.of(Subnet), kinds.of(AddressLease)


@pytest.mark.parametrize("bound", [False, True])
async def test_it_cools_only_where_a_guest_may_have_used_it(*, bound: bool) -> None:
    Clock.moment = datetime(2026, 1, 1, tzinfo=UTC)
    server, state = Server(), ControllerState()
    await server.create(SUBNETS, subnet("blue", "10.0.0.0/29", cooldownSeconds=600), NS)
    lease = AddressLease(
        metadata=Metadata(name=lease_name("10.0.0.5", BLUE)),
        spec=AddressLeaseSpec(
            address="10.0.0.5",
            subnet=BLUE,
            holder=Holder(namespace=NS, port="db.blue", owner=Owner(kind="VirtualMachine", name="db"), network="blue"),
        ),
    ).manifest()
    if bound:
        lease["status"] = {"phase": "Bound", "ownerUid": "u0", "boundAt": "2025-12-31T00:00:00Z"}
    await server.create(LEASES, lease)
    for kind in (SUBNETS, LEASES, kinds.VMS, kinds.PODS):
        for old, new in state.cache(kind).note("LISTED", listing(server, kind)):
            state.note(kind, old, new)
        state.cache(kind).sync((body["metadata"]["name"] for body in server.all(kind)), server.version)
    owners = Owners(cast("Cluster", server), state, again=lambda *_: None, clock=Clock.seconds)
    with patch.object(owners_module, "datetime", Clock):
        for _ in range(2):
            await owners.reconcile(Task(OWN, ObjectKey("VirtualMachine", NS, "db")))
            Clock.moment += RESERVED_FOR + timedelta(seconds=1)
    assert not server.all(LEASES)
    (found,) = server.all(SUBNETS)
    assert [one["address"] for one in (found.get("status") or {}).get("cooling", [])] == (["10.0.0.5"] if bound else [])


def listing(server: Server, kind: kinds.Kind) -> dict[str, Any]:
    return {"items": server.all(kind), "metadata": {"resourceVersion": str(server.version)}}

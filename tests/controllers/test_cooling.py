"""A Subnet's list of cooling addresses, which is read and written whole, by many who free addresses at once."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from tests.controllers.states import put
from tests.topology.samples import VPC, subnet
from virtnet.controllers.owners import Owners
from virtnet.controllers.state import ControllerState
from virtnet.features.sources import SUBNETS
from virtnet.kube.client import Cluster
from virtnet.kube.kinds import Kind

BLUE = subnet("blue")
FREED = 12


class Store:
    """Keeps what is written to the Subnet, a few turns of the event loop later."""

    def __init__(self) -> None:
        self.version = 1
        self.writing = 0
        self.most = 0

    async def patch(
        self, kind: Kind, name: str, patch: Mapping[str, Any], namespace: str, *, subresource: str
    ) -> dict[str, Any]:
        self.writing += 1
        self.most = max(self.most, self.writing)
        for _ in range(3):
            await asyncio.sleep(0)
        self.writing -= 1
        self.version += 1
        metadata = {
            "uid": "demo/blue",
            "resourceVersion": str(self.version),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        }
        body = BLUE.manifest()
        return {**body, "metadata": {**body["metadata"], **metadata}, **patch}


async def test_all_addresses_that_are_freed_one_after_the_other_are_kept_and_no_lock_is() -> None:
    state, store = ControllerState(), Store()
    for one in (VPC, BLUE):
        put(state, one)
    owners = Owners(cast("Cluster", store), state, again=lambda *_: None)

    async def free(number: int) -> None:
        for _ in range(number):  # while earlier ones write, or have just let go
            await asyncio.sleep(0)
        await owners._cool(BLUE.ref, {f"10.10.0.{100 + number}": "demo/db.blue"})

    await asyncio.gather(*map(free, range(FREED)))
    found = state.objects(SUBNETS)[SUBNETS.key("demo/blue")]
    assert {one.address for one in found.status.cooling} == {f"10.10.0.{100 + number}" for number in range(FREED)}
    assert store.most == 1
    assert not owners._cooling

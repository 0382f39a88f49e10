"""A Port that another owner has by the same name: whose NIC waits for it asks for it less and less often."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

from tests.controllers.states import put
from tests.topology.samples import VPC, port, subnet
from virtnet.api.records import PinnedNic, PinnedRecord
from virtnet.controllers.owners import Owners
from virtnet.controllers.state import OWN, ControllerState
from virtnet.controllers.worker import LAST_RETRY, Queue, WorkerPool
from virtnet.engine.due import Task
from virtnet.features.sources import PORTS, VMS
from virtnet.features.workloads import Vm
from virtnet.kube.errors import AlreadyExists

BLUE = subnet("blue")
MINE = port(BLUE, 10, "vm10.net")
ANOTHERS = MINE.model_copy(
    update={"spec": MINE.spec.model_copy(update={"owner": MINE.spec.owner.model_copy(update={"name": "another"})})}
)


class Occupied:
    """An API server where another owner's Port is in the way, until it has been asked often enough."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals

    async def create(self, _: Any, body: Any, *__: Any) -> Any:
        self.refusals -= 1
        if self.refusals >= 0:
            raise AlreadyExists("ports vm10.net already exists", code=409)
        return self._stored(body)

    async def get(self, *_: Any) -> Any:
        return self._stored(ANOTHERS.manifest())

    @staticmethod
    def _stored(body: Any) -> Any:
        return {**body, "metadata": {**body["metadata"], "uid": "p", "resourceVersion": "2"}}


class Hasty(Queue[Task]):
    """Waits for nothing, and notes how long it was to."""

    def __init__(self) -> None:
        super().__init__("owners")
        self.delays: list[timedelta] = []

    def add_later(self, task: Task, delay: timedelta) -> None:
        self.delays.append(delay)
        self.add(task)


async def test_a_port_that_is_in_the_way_is_met_later_and_later() -> None:
    state, queue = ControllerState(), Hasty()
    for one in (VPC, BLUE):
        put(state, one)
    nic = PinnedNic(nad="demo/net", subnet=BLUE.ref, mac=MINE.spec.mac_address, addresses=tuple(MINE.spec.addresses))
    record = PinnedRecord(vm="demo/vm10", nics={"net": nic}).annotation()
    state.tell(VMS, VMS.key("demo/vm10"), Vm("demo/vm10", "u", record))
    task = Task(OWN, VMS.key("demo/vm10"))
    owners = Owners(Occupied(10), state, again=queue.add_later)  # type: ignore[arg-type]
    made = asyncio.Event()

    async def reconcile(task: Task) -> None:
        await owners.reconcile(task)
        made.set()

    work = asyncio.create_task(WorkerPool(queue, reconcile).run())
    queue.add(task)
    async with asyncio.timeout(10):
        await made.wait()
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work
    assert len(queue.delays) == 10
    assert all(
        later == LAST_RETRY or later > before for before, later in zip(queue.delays, queue.delays[1:], strict=False)
    )
    assert queue.delays[-1] == LAST_RETRY
    assert state.objects(PORTS)[PORTS.key(MINE.key)].spec.owner == MINE.spec.owner

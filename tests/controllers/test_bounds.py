"""What many objects may cost one that is urgent, and each other."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from kubernetes.aio.client.configuration import Configuration

from tests.bench.api_server import ApiServer
from tests.bench.cluster import Guest, Move, Size, fill
from tests.controllers.states import put
from tests.topology.samples import VPC, port, subnet
from virtnet.api import Port, Subnet
from virtnet.controllers import writer
from virtnet.controllers.controller import PART, Controller
from virtnet.controllers.metrics import Metrics
from virtnet.controllers.state import COMPILE, ControllerState
from virtnet.controllers.writer import Writer, rows_queue
from virtnet.engine.due import Task
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.features import layout
from virtnet.features.leases import leases_of
from virtnet.features.ovn_state import BINDINGS, ROWS, PortBinding
from virtnet.features.places import Place
from virtnet.features.sources import PORTS, SUBNETS
from virtnet.handoff.facts import Binding
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.kinds import NODES, Kind
from virtnet.kube.transport import Transport
from virtnet.ovn.fake import FakeNorthbound
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.ovn.replica import Dump
from virtnet.ovn.southbound import Southbound
from virtnet.topology.names import port_key
from virtnet.topology.ownership import own

MANY = 10_000
SUBNETS_OF_ONE_VPC = 2_000


class Rows:
    """The writer's queue over a state."""

    def __init__(self) -> None:
        self.state = ControllerState()
        self.queue = rows_queue()
        self.writer = Writer(self.state, FakeNorthbound(), self.queue, lambda _: None, Metrics().transactions)
        put(self.state, VPC)

    def add_due(self) -> int:
        """How many have become due."""
        due = {task: priority for task, priority in self.state.graph.due().items() if task.name == COMPILE}
        for task, priority in due.items():
            self.queue.add(task, priority)
        return len(due)

    def compile_all(self) -> None:
        self.add_due()
        while self.queue:
            self.writer.compile()


def test_an_urgent_port_is_first_in_the_next_part_though_all_others_of_its_subnet_are_due() -> None:
    rows, of = Rows(), subnet("blue", "10.0.0.0/16")
    put(rows.state, of)
    template, urgent = port(of, 10), port(of, 20_000)
    for one in (urgent, *leases_of(urgent.key, urgent.spec).values()):
        put(rows.state, one)
    for number in range(MANY - 1):
        metadata = template.metadata.model_copy(update={"name": f"vm{number}.net"})
        one = template.model_copy(update={"metadata": metadata})
        rows.state.tell(PORTS, ObjectKey.of(one), one)
    rows.compile_all()
    put(rows.state, subnet("blue", "10.0.0.0/16", dhcp={"leaseSeconds": 600}), version="2")
    assert rows.add_due() == MANY + 1
    rows.writer.compile()
    rows.state.tell(BINDINGS, ObjectKey.of(urgent), PortBinding(Binding(chassis="c1"), None))
    rows.add_due()
    assert rows.writer.compile().keys() == {ObjectKey.of(urgent)}, "and none of the others is before its commit"
    assert rows.queue, "the others are still due"


async def test_between_two_parts_all_others_have_their_turn_though_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """News of one that is urgent comes by such a turn, and so does the renewal of the Lease."""
    monkeypatch.setattr(writer, "PART_SECONDS", 0)  # each part looks at one object
    rows, of, looks = Rows(), subnet("blue"), 100
    for number in range(looks):
        put(rows.state, port(of, 10, f"vm{number}.net"))  # without a Subnet: it stays as it is
    rows.add_due()
    turns = 0
    async with asyncio.TaskGroup() as group:
        running = group.create_task(rows.writer.run())
        while rows.queue:
            turns += 1
            await asyncio.sleep(0)
        running.cancel()
    assert turns >= looks


async def test_at_a_start_others_have_their_turn_while_what_ovn_has_is_noted() -> None:
    """The Lease has to be renewed meanwhile, though OVN has 50,000 ports."""
    ports = 5 * PART
    northbound, southbound = OvsdbNorthbound("unix:nowhere"), Southbound("unix:nowhere")
    keys = {f"{number:036}": port_key(f"demo/vm{number}.net") for number in range(ports)}
    rows = {uuid: {"name": key.object, "external_ids": own(key)} for uuid, key in keys.items()}
    northbound._report(Dump({"Logical_Switch_Port": rows}))
    bound: dict[str, object] = {"type": "", "chassis": None, "options": {}, "datapath": ""}
    bindings = {uuid: {**bound, "logical_port": key.object} for uuid, key in keys.items()}
    southbound._report(Dump({"Port_Binding": bindings}))
    cluster = Cluster(Transport(Configuration(), agent="test"))
    controller = Controller(cluster, northbound, southbound, Metrics())
    noting, turns = asyncio.create_task(controller._observe_ovn()), 0
    while not noting.done():
        turns += 1
        await asyncio.sleep(0)
    await cluster.close()
    assert len(controller.state.objects(ROWS)) == len(controller.state.objects(BINDINGS)) == ports
    assert turns >= 10


class Told(ApiServer):
    """Has what it is given noted at once."""

    def __init__(self, state: ControllerState) -> None:
        super().__init__()
        self.state = state

    def put(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        stored = super().put(kind, body)
        if kind != NODES:
            self.state.put(kind, stored)
        return stored


async def test_at_a_start_a_port_that_moves_comes_before_thousands_that_do_not() -> None:
    """So does what changes while they are looked at."""
    size = Size(20, 2)
    northbound, southbound = OvsdbNorthbound("unix:nowhere"), Southbound("unix:nowhere")
    cluster = Cluster(Transport(Configuration(), agent="test"))
    controller = Controller(cluster, northbound, southbound, Metrics())
    server, state, queue = Told(controller.state), controller.state, controller._rows
    fill(server, size)
    for number in range(size.ports):
        state.tell(ROWS, PORTS.key(Guest(size, number).port), ())
    moves = Guest(size, 15)
    Move(moves).begin(server)
    await controller._observe_ovn()
    controller._queue_first()
    assert queue.take() == Task(COMPILE, PORTS.key(moves.port))
    assert len(queue) >= size.ports - 1
    comes = Guest(size, size.ports)
    server.put(kinds.of(Port), comes.owned(server.put(kinds.VMS, comes.vm()))[0])
    controller._flush()
    assert queue.take() == Task(COMPILE, PORTS.key(comes.port))
    await cluster.close()


@pytest.fixture
def layouts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the looks at all Subnets of a Vpc, and how many they were."""
    counted: Counter[str] = Counter()
    overlaps = layout.overlaps

    def count(places: Iterable[Place], reader: Reader) -> dict[ObjectKey, ObjectKey]:
        found = list(places)
        counted.update(layouts=1, subnets=len(found))
        return overlaps(found, reader)

    monkeypatch.setattr(layout, "overlaps", count)
    return counted


def made(numbers: Iterable[int]) -> list[Subnet]:
    return [subnet(f"net{number}", f"10.{number >> 8}.{number & 255}.0/24") for number in numbers]


def test_all_subnets_of_a_vpc_are_looked_at_once_for_all_that_come_together(layouts: Counter[str]) -> None:
    rows = Rows()
    for one in made(range(SUBNETS_OF_ONE_VPC)):
        put(rows.state, one)
    rows.compile_all()
    assert layouts == {"layouts": 1, "subnets": SUBNETS_OF_ONE_VPC}


def test_a_subnet_that_comes_later_has_all_others_looked_at_once_and_none_compiled(layouts: Counter[str]) -> None:
    rows = Rows()
    for one in made(range(SUBNETS_OF_ONE_VPC)):
        put(rows.state, one)
    rows.compile_all()
    layouts.clear()
    for one in made([SUBNETS_OF_ONE_VPC, SUBNETS_OF_ONE_VPC + 1]):
        put(rows.state, one)
    due = rows.add_due()
    rows.compile_all()
    assert due <= 3, "the two that have come, and the Vpc"
    assert layouts["layouts"] == 1


def test_subnets_that_become_ready_one_by_one_concern_no_other_and_no_port(layouts: Counter[str]) -> None:
    rows, subnets = Rows(), made(range(3))
    for one in subnets:
        put(rows.state, one)
    first = port(subnets[0], 10)
    rows.state.tell(PORTS, ObjectKey.of(first), first)
    rows.compile_all()
    layouts.clear()
    for one in subnets:
        condition = {"type": "Ready", "status": "True", "reason": "InOvn", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        status = Subnet.parse({**one.manifest(), "status": {"conditions": [condition]}}).status
        key = ObjectKey.of(one)
        rows.state.tell(SUBNETS, key, rows.state.objects(SUBNETS)[key].model_copy(update={"status": status}))
        assert rows.add_due() == 0
    assert not layouts


def test_what_no_neighbour_has_to_know_of_a_subnet_has_none_of_them_looked_at(layouts: Counter[str]) -> None:
    """Nor its Vpc; though thousands of others lie in that."""
    rows, subnets = Rows(), made(range(3))
    for one in subnets:
        put(rows.state, one)
    rows.compile_all()
    layouts.clear()
    put(rows.state, subnet("net1", "10.0.1.0/24", dhcp={"leaseSeconds": 600}), version="2")
    assert rows.state.graph.due().keys() & {Task(COMPILE, ObjectKey.of(one)) for one in (*subnets, VPC)} == {
        Task(COMPILE, ObjectKey.of(subnets[1]))
    }
    assert not layouts

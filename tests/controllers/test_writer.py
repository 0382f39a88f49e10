"""The writer of rows, where one of many objects cannot be compiled or written: the others do not wait for it."""

from collections.abc import Iterable, Sequence

import pytest

from tests.controllers.states import put
from tests.topology.samples import VPC, port, subnet
from virtnet.api import AddressLease, Port, Resource
from virtnet.controllers import writer
from virtnet.controllers.metrics import Metrics
from virtnet.controllers.state import COMPILE, ControllerState
from virtnet.controllers.writer import Writer, rows_queue
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import Outcome
from virtnet.features.leases import leases_of
from virtnet.features.ovn_state import BINDINGS, COMMITS, ROWS
from virtnet.ovn.errors import Fenced, OvnRejected
from virtnet.ovn.fake import FakeDatabase, FakeNorthbound
from virtnet.topology.difference import difference
from virtnet.topology.rows import Op

BLUE = subnet("blue")
KEYS = {f"ClusterVpc/{VPC.key}", "Subnet/demo/blue", *(f"Port/demo/{name}.net" for name in "abc")}


def leases(of: Port) -> tuple[AddressLease, ...]:
    return tuple(leases_of(of.key, of.spec).values())


A, B, C = PORTS = tuple(port(BLUE, number, f"{name}.net") for number, name in enumerate("abc", 10))
PROVEN = (VPC, BLUE, *PORTS, *(lease for one in PORTS for lease in leases(one)))


class Central:
    """A writer with an OVN, and a Vpc with a Subnet with three Ports and their leases."""

    def __init__(self, northbound: FakeNorthbound, known: Iterable[Resource] = PROVEN) -> None:
        self.northbound = northbound
        self.state = ControllerState()
        self.queue = rows_queue()
        self.effects: list[object] = []
        self.writer = Writer(self.state, northbound, self.queue, self.effects.append, Metrics().transactions)
        for one in known:
            put(self.state, one)

    async def write(self) -> None:
        """All that is due."""
        self.writer.observe(row.key for row in self.northbound.observed())
        while self.due():
            while self.queue:
                await self.writer.write(self.writer.compile())

    def compile_all(self) -> dict[ObjectKey, Outcome]:
        """All that is due in one part, however long that takes: what is written together is put into order."""
        outcomes: dict[ObjectKey, Outcome] = {}
        while self.queue:
            outcomes |= self.writer.compile()
        return outcomes

    def due(self) -> set[str]:
        found = {task: priority for task, priority in self.state.graph.due().items() if task.name == COMPILE}
        for task, priority in found.items():
            self.queue.add(task, priority)
        return {str(task.key) for task in found}

    @property
    def written(self) -> set[str]:
        return {row.key.origin for row in self.northbound.observed()}


class Refusing(FakeNorthbound):
    """A database that does not take rows of one object."""

    def __init__(self, refused: str) -> None:
        super().__init__()
        self.refused = refused
        self.commits = 0

    async def commit(self, ops: Sequence[Op]) -> None:
        self.commits += 1
        if any(op.key.origin == self.refused for op in ops):
            raise OvnRejected("its name is taken")
        await super().commit(ops)


async def test_a_port_that_nobody_thought_of_holds_up_no_other() -> None:
    central = Central(FakeNorthbound())
    central.state.tell(BINDINGS, ObjectKey("Port", "demo", "b.net"), "not a binding at all")
    await central.write()
    assert central.written == KEYS - {"Port/demo/b.net"}


@pytest.mark.parametrize("refused", sorted(KEYS - {f"ClusterVpc/{VPC.key}", "Subnet/demo/blue"}))
async def test_what_the_database_refuses_holds_up_no_other(refused: str) -> None:
    northbound = Refusing(refused)
    central = Central(northbound)
    await central.write()
    assert central.written == KEYS - {refused}
    error = central.state.objects(COMMITS).get(ObjectKey.parse(refused))
    assert error is not None
    assert error.error == "not in OVN: its name is taken"


async def test_one_of_many_that_is_refused_costs_a_few_transactions_and_not_one_for_each() -> None:
    northbound = Refusing("Port/demo/b.net")
    central = Central(northbound)
    for more in (port(BLUE, number, f"p{number}.net") for number in range(20, 84)):
        for one in (more, *leases(more)):
            put(central.state, one)
    central.due()
    await central.writer.write(central.compile_all())
    assert len(central.written) == len(KEYS) + 64 - 1
    assert northbound.commits <= 1 + 2 * 7, "halves: twice the logarithm of 69, rounded up, and one"


async def test_who_is_fenced_writes_nothing_more() -> None:
    database = FakeDatabase()
    FakeNorthbound(database)  # has the lock
    with pytest.raises(Fenced):
        await Central(FakeNorthbound(database)).write()
    assert not database.rows


async def test_what_was_written_is_not_looked_at_again() -> None:
    """The database tells of what we have written, too."""
    central = Central(FakeNorthbound())
    await central.write()
    assert central.due() == set()


@pytest.mark.parametrize("origin", sorted(KEYS))
async def test_what_somebody_else_changes_is_put_back(origin: str) -> None:
    central = Central(FakeNorthbound())
    await central.write()
    before = central.written
    await central.northbound.commit(_deletions(central.northbound, origin))
    assert origin in central.due()
    await central.writer.write(central.compile_all())
    assert central.written == before


async def test_rows_of_a_kind_that_this_version_does_not_know_are_left_alone() -> None:
    central = Central(FakeNorthbound())
    await central.write()
    later = ObjectKey("Firewall", "demo", "wall")
    central.state.tell(ROWS, later, tuple(central.northbound.of("Port/demo/a.net")))
    assert central.due() == set()


def _deletions(northbound: FakeNorthbound, origin: str) -> list[Op]:

    return difference([], northbound.of(origin))


def changed(of: Port, **update: object) -> Port:
    return of.model_copy(update={"spec": of.spec.model_copy(update=update)})


def written(northbound: FakeNorthbound) -> dict[str, frozenset[str]]:
    """Port -> its port security, as OVN has it."""
    found = {row.key.origin: row.columns.get("port_security") for row in northbound.observed()}
    return {
        origin: frozenset(map(str, security))
        for origin, security in found.items()
        if isinstance(security, frozenset) and security
    }


SECURITY = {f"Port/{one.key}": frozenset({f"{one.spec.mac_address} {one.spec.addresses[0]}"}) for one in PORTS}
FOREIGN = subnet("private", "10.70.0.0/24", namespace="victim")
STEALING = changed(A, subnet=FOREIGN.ref, addresses=("10.70.0.5",))


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param(leases(A), True, id="a lease of each address"),
        pytest.param(leases(A)[:1], False, id="of the MAC only"),
        pytest.param(leases(A)[1:], False, id="of the address only"),
        pytest.param((), False, id="of nothing"),
        pytest.param((leases(A)[0], leases(changed(A, subnet=subnet("red").ref))[1]), False, id="of another Subnet"),
        pytest.param((leases(A)[0], *leases(B.model_copy(update={"spec": A.spec}))[1:]), False, id="another's"),
    ],
)
async def test_a_port_is_written_when_each_address_is_proven(known: tuple[AddressLease, ...], expected: bool) -> None:
    northbound = FakeNorthbound()
    await Central(northbound, (VPC, BLUE, A, *known)).write()
    assert written(northbound) == ({f"Port/{A.key}": SECURITY[f"Port/{A.key}"]} if expected else {})


@pytest.mark.parametrize("kept", [0, 1], ids=["of its MAC", "of its address"])
async def test_a_port_whose_lease_was_lost_stays(kept: int) -> None:
    northbound = FakeNorthbound()
    await Central(northbound).write()
    await Central(northbound, (VPC, BLUE, *PORTS, leases(A)[1 - kept], *leases(B), *leases(C))).write()
    assert written(northbound) == SECURITY


async def test_a_port_keeps_what_it_has_until_something_else_is_proven() -> None:
    northbound = FakeNorthbound()
    await Central(northbound).write()
    changed_port = changed(A, addresses=("10.10.0.1",))
    await Central(northbound, (VPC, BLUE, changed_port, B, C, *PROVEN[5:])).write()
    assert written(northbound) == SECURITY
    await Central(northbound, (VPC, BLUE, changed_port, B, C, *leases(changed_port), *PROVEN[5:])).write()
    assert written(northbound)[f"Port/{A.key}"] == {f"{A.spec.mac_address} 10.10.0.1"}


async def test_a_port_in_anothers_subnet_is_not_in_ovn() -> None:
    northbound = FakeNorthbound()
    known = (VPC, BLUE, FOREIGN, STEALING, *leases(STEALING))
    await Central(northbound, known).write()
    assert written(northbound) == {}


async def test_of_what_comes_together_that_is_written_first_on_which_others_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At a start all is due, in whichever order the lists came."""
    monkeypatch.setattr(writer, "PART_SECONDS", 0)  # each object is written by itself
    central = Central(FakeNorthbound(), tuple(reversed(PROVEN)))
    central.due()
    while central.queue:
        await central.writer.write(central.writer.compile())
    assert central.written == KEYS

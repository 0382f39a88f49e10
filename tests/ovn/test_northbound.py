"""What every northbound client promises; the fake and the one of a real ovsdb-server alike."""

import asyncio

import pytest

from tests.ovn.worlds import FakeWorld, RealWorld, World
from tests.topology.samples import Range, map_of, port, subnet, topology
from virtnet.handoff.options import ChassisOptions
from virtnet.ovn.northbound import Fenced, Northbound, Stale
from virtnet.topology.chassis import read_chassis
from virtnet.topology.compile import port_rows, subnet_rows
from virtnet.topology.difference import difference
from virtnet.topology.names import port_key, switch_key
from virtnet.topology.rows import Insert, Key, Op, Parent, Ref, Row, Update

BLUE = subnet()
BOTH = ChassisOptions(("one", "two"), "rarp", {"state": "Armed"})
PORT = port_key("demo/vm10.net")
SWITCH = switch_key(BLUE.ref)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.system)])
def world(request: pytest.FixtureRequest) -> World:
    return FakeWorld() if request.param == "fake" else RealWorld(request.getfixturevalue("northbound_server"))


async def bring(client: Northbound, rows: list[Row]) -> None:
    await client.commit(difference(rows, client.observed()))
    assert difference(rows, client.observed()) == []


def one(client: Northbound, key: Key) -> Row:
    (row,) = client.observed([key])
    return row


async def hears(heard: list[frozenset[Key]], key: Key) -> None:
    async with asyncio.timeout(20):
        while not any(key in keys for keys in heard):  # noqa: ASYNC110 - two worlds, one way to wait
            await asyncio.sleep(0.01)


async def test_nothing_is_there_at_first(world: World) -> None:
    async with world.client() as client:
        assert client.observed() == []
        await client.commit([])


async def test_what_was_committed_is_observed(world: World) -> None:
    rows = topology(BLUE, 3)
    async with world.client() as client:
        await bring(client, rows)
        assert {row.key for row in client.observed()} == {row.key for row in rows}
        port = one(client, PORT)
        assert port.columns["name"] == "demo/vm10.net"
        assert port.columns["dhcpv4_options"] == Ref(Key("DHCP_Options", "Subnet/demo/blue:v4"))
        assert port.parent == Parent(SWITCH, "ports")
        assert port.columns["type"] == ""
        assert port.columns["options"] == {}


async def test_rows_are_found_by_key_and_by_object(world: World) -> None:
    async with world.client() as client:
        await bring(client, topology(BLUE, 3))
        assert [row.key for row in client.observed([PORT, port_key("demo/nobody")])] == [PORT]
        assert [row.key for row in client.of("Port/demo/vm10.net")] == [PORT]
        assert {row.key.table for row in client.of("Subnet/demo/blue")} == {
            "Logical_Switch",
            "Logical_Switch_Port",
            "Logical_Router_Port",
            "DHCP_Options",
            "ACL",
        }
        assert client.of("Subnet/demo/red") == []


async def test_another_client_sees_the_same(world: World) -> None:
    async with world.client() as first:
        await bring(first, topology(BLUE, 3, BOTH))
        async with world.client() as second:
            assert sorted(second.observed(), key=lambda row: row.uuid) == sorted(
                first.observed(), key=lambda row: row.uuid
            )


async def test_a_handoff_comes_and_goes(world: World) -> None:
    async with world.client() as client:
        await bring(client, topology(BLUE, 1))
        await bring(client, topology(BLUE, 1, BOTH))
        assert read_chassis(one(client, PORT), ChassisOptions) == BOTH
        await bring(client, topology(BLUE, 1, ChassisOptions(("two",))))
        assert one(client, PORT).columns["options"] == {"requested-chassis": "two"}
        assert "virtnet/handoff-state" not in map_of(one(client, PORT), "external_ids")


async def test_keys_of_others_survive(world: World) -> None:
    async with world.client() as client:
        heard: list[frozenset[Key]] = []
        await bring(client, topology(BLUE, 1, BOTH))
        client.on_change(heard.append)
        world.set_key(one(client, PORT), "options", "qos_max_rate", "1")
        await hears(heard, PORT)
        await bring(client, topology(BLUE, 1))
        assert one(client, PORT).columns["options"] == {"qos_max_rate": "1"}


async def test_others_rows_are_neither_seen_nor_touched(world: World) -> None:
    async with world.client() as client:
        world.add_foreign_switch("theirs")
        await bring(client, topology(BLUE, 1))
        world.add_foreign_port(one(client, SWITCH), "guest")
        await bring(client, topology(BLUE, 0))
        assert "guest" in world.names("Logical_Switch_Port")
        assert {row.key.origin for row in client.observed()} == {"ClusterVpc/default", "Subnet/demo/blue"}
        await bring(client, [])
        assert world.names("Logical_Switch") == ["theirs"]


async def test_all_goes_when_nothing_is_desired(world: World) -> None:
    async with world.client() as client:
        await bring(client, topology(BLUE, 3))
        await bring(client, [])
        assert client.observed() == []
        assert world.names("Logical_Switch_Port") == []


async def test_own_changes_are_told_before_commit_returns(world: World) -> None:
    heard: list[frozenset[Key]] = []
    async with world.client() as client:
        client.on_change(heard.append)
        await bring(client, topology(BLUE, 1))
        assert any(PORT in keys for keys in heard)
        heard.clear()
        await bring(client, topology(BLUE, 1, BOTH))
        assert heard == [frozenset({PORT})]


async def test_what_others_damage_is_told(world: World) -> None:
    heard: list[frozenset[Key]] = []
    async with world.client() as client:
        await bring(client, topology(BLUE, 2))
        client.on_change(heard.append)
        world.set_key(one(client, PORT), "options", "requested-chassis", "elsewhere")
        await hears(heard, PORT)
        world.remove(one(client, port_key("demo/vm11.net")))
        await hears(heard, port_key("demo/vm11.net"))
        await bring(client, topology(BLUE, 2))


async def test_a_lost_parent_takes_its_children_along_and_all_are_told(world: World) -> None:
    heard: list[frozenset[Key]] = []
    async with world.client() as client:
        await bring(client, topology(BLUE, 1))
        client.on_change(heard.append)
        world.remove(one(client, SWITCH))
        await hears(heard, SWITCH)
        await hears(heard, PORT)
        assert client.observed([PORT]) == []
        await bring(client, topology(BLUE, 1))


async def test_a_lost_database_is_told_and_comes_back(world: World) -> None:
    heard: list[frozenset[Key]] = []
    rows = topology(BLUE, 3)
    async with world.client() as client:
        await bring(client, rows)
        client.on_change(heard.append)
        world.erase()
        await hears(heard, PORT)
        assert frozenset().union(*heard) == {row.key for row in rows}
        assert client.observed() == []
        await bring(client, rows)


async def test_a_port_that_hangs_elsewhere_is_moved(world: World) -> None:
    red = subnet("red", "10.20.0.0/24")
    both = [*topology(BLUE, 0), *subnet_rows(red, Range.of(red))]
    async with world.client() as client:
        await bring(client, [*both, *port_rows(port(BLUE, 10), BLUE, ChassisOptions())])
        before = one(client, PORT).uuid
        await bring(client, [*both, *port_rows(port(BLUE, 10), red, ChassisOptions())])
        assert one(client, PORT).uuid == before
        assert one(client, PORT).parent == Parent(switch_key(red.ref), "ports")


async def test_twins_are_repaired(world: World) -> None:
    dhcp = Key("DHCP_Options", "Subnet/demo/blue:v4")
    heard: list[frozenset[Key]] = []
    async with world.client() as client:
        await bring(client, topology(BLUE, 1))
        good = one(client, dhcp)
        client.on_change(heard.append)
        world.duplicate(good)
        await hears(heard, dhcp)
        assert len(client.observed([dhcp])) == 2
        await bring(client, topology(BLUE, 1))
        assert len(client.observed([dhcp])) == 1
        options = one(client, PORT).columns["dhcpv4_options"]
        assert isinstance(options, Ref)
        assert options.uuid == one(client, dhcp).uuid


async def test_what_is_there_is_not_inserted_again(world: World) -> None:
    ops = difference(topology(BLUE, 1), [])
    async with world.client() as client:
        await client.commit(ops)
        with pytest.raises(Stale, match="there already"):
            await client.commit(ops)


@pytest.mark.parametrize(
    "op",
    [
        pytest.param(Update(PORT, {"type": "router"}), id="the row"),
        pytest.param(Insert(Row(PORT, {"name": "x"}, Parent(SWITCH, "ports"))), id="the parent"),
        pytest.param(
            Insert(
                Row(Key("Logical_Switch_Port", "Port/demo/x"), {"dhcpv4_options": Ref(Key("DHCP_Options", "nothing"))})
            ),
            id="what it refers to",
        ),
    ],
)
async def test_stale_when_something_is_missing(world: World, op: Op) -> None:
    async with world.client() as client:
        with pytest.raises(Stale, match=r"is not there|is gone"):
            await client.commit([op])


async def test_stale_when_the_port_has_moved_on_and_then_nothing_happens(world: World) -> None:
    async with world.client() as client:
        await bring(client, topology(BLUE, 2))
        late = difference(topology(BLUE, 3, BOTH), client.observed())
        await bring(client, topology(BLUE, 2, ChassisOptions(("three",))))
        with pytest.raises(Stale):
            await client.commit(late)
        assert difference(topology(BLUE, 2, ChassisOptions(("three",))), client.observed()) == []


async def test_the_second_is_fenced_and_takes_over_when_the_first_goes(world: World) -> None:
    async with world.client() as first:
        await bring(first, topology(BLUE, 1))
        async with world.client() as second:
            assert (first.locked, second.locked) == (True, False)
            ops = difference(topology(BLUE, 2), second.observed())
            with pytest.raises(Fenced):
                await second.commit(ops)
            await first.close()
            assert await second.wait_for_lock(20)
            await second.commit(ops)
            assert difference(topology(BLUE, 2), second.observed()) == []


async def test_an_elected_leader_takes_the_lock_and_fences_whoever_had_it(world: World) -> None:
    async with world.client() as old:
        await bring(old, topology(BLUE, 1))
        async with world.client() as new:
            await new.steal_lock()
            await bring(new, topology(BLUE, 2))
            with pytest.raises(Fenced):
                await old.commit(difference(topology(BLUE, 3), old.observed()))
            with pytest.raises(Fenced):
                await old.commit([])
            assert difference(topology(BLUE, 2), new.observed()) == []

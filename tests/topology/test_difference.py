"""The difference between two sets of rows, as properties: it is complete, minimal, and touches nothing of others'."""

from collections.abc import Iterable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topology.samples import subnet, topology
from tests.topology.worlds import chassis, desires, worlds
from virtnet.handoff.options import ChassisOptions
from virtnet.topology.apply import MismatchError, apply
from virtnet.topology.difference import difference
from virtnet.topology.names import port_key
from virtnet.topology.ownership import owned
from virtnet.topology.rows import Delete, Insert, Key, Keys, Members, Parent, Ref, Row, Update, Value
from virtnet.topology.tables import TABLES, ColumnType


def ours(world: Iterable[Row]) -> list[Row]:
    return [row for row in world if owned(row.key.table, row.columns)]


def mine(row: Row) -> Row:
    """What of a row is ours: map columns without others' keys, empty values alike."""
    table = TABLES[row.key.table]
    columns: dict[str, Value] = {}
    for column, value in row.columns.items():
        if isinstance(value, dict):
            columns[column] = {n: v for n, v in value.items() if table.owns(column, n)}
        elif table.columns[column] is ColumnType.REFS and isinstance(value, frozenset):
            columns[column] = frozenset(one for one in value if isinstance(one, Ref)) or None
        else:
            columns[column] = value or None
    return replace(row, columns=columns)


def foreign_part(world: Iterable[Row]) -> dict[str | tuple[str, str], Row | Value]:
    """All that is not ours: whole rows, the keys in our maps, and the references in our sets."""
    keys: dict[str | tuple[str, str], Row | Value] = {}
    for row in world:
        table = TABLES[row.key.table]
        if not owned(row.key.table, row.columns):
            keys[row.uuid] = row
            continue
        for column, value in row.columns.items():
            if isinstance(value, dict):
                keys[row.uuid, column] = {n: v for n, v in value.items() if not table.owns(column, n)}
            if table.columns[column] is ColumnType.REFS and isinstance(value, frozenset):
                keys[row.uuid, column] = frozenset(one for one in value if isinstance(one, str))
    return keys


@settings(max_examples=40)
@given(desires(), worlds())
def test_the_difference_gives_what_is_desired_leaves_no_other_and_touches_nothing_of_others(
    desired: list[Row], world: list[Row]
) -> None:
    after = apply(difference(desired, ours(world)), world)
    there = ours(after)
    assert sorted(map(mine, there), key=lambda row: row.key) == sorted(map(mine, desired), key=lambda row: row.key)
    assert difference(desired, there) == []
    untouched(world, after)


def untouched(world: list[Row], after: list[Row]) -> None:
    """Assert that all is there that is not ours.

    A switch of ours that goes takes with it what others hung on it; only that may be missing.
    """
    left, uuids = foreign_part(after), {row.uuid for row in after}
    for name, value in foreign_part(world).items():
        hung = isinstance(value, Row) and value.parent is not None and value.parent.uuid not in uuids
        if name in left:
            assert left[name] == value
        else:
            assert hung or isinstance(name, tuple)


@settings(max_examples=30)
@given(desires(), worlds(), st.randoms())
def test_the_order_of_rows_does_not_matter(desired: list[Row], world: list[Row], random: Random) -> None:
    shuffled, mixed = list(desired), ours(world)
    random.shuffle(shuffled)
    random.shuffle(mixed)
    assert difference(shuffled, mixed) == difference(desired, ours(world))


@given(chassis, chassis)
def test_one_port_changes_chassis_by_one_verified_update(old: ChassisOptions, new: ChassisOptions) -> None:
    of = subnet()
    there = apply(difference(topology(of, 1, old), []), [])
    ops = difference(topology(of, 1, new), there)
    if old == new:
        assert ops == []
        return
    (update,) = ops
    assert isinstance(update, Update)
    before = next(row for row in there if row.uuid == update.uuid)
    assert update.verify == {column: before.columns[column] for column in update.columns}


def test_stale_keys_of_ours_go_and_others_stay() -> None:
    key = Key("Logical_Switch_Port", "Port/demo/a")
    wanted = Row(key, {"options": {"requested-chassis": "one"}})
    there = Row(key, {"options": {"requested-chassis": "one,two", "activation-strategy": "rarp", "qos": "1"}}, uuid="u")
    (update,) = difference([wanted], [there])
    assert isinstance(update, Update)
    assert update.columns == {"options": Keys({"requested-chassis": "one"}, frozenset({"activation-strategy"}))}


def test_columns_that_are_not_named_are_left_alone() -> None:
    key = Key("Logical_Switch_Port", "Port/demo/a")
    assert difference([Row(key, {"type": ""})], [Row(key, {"type": "", "addresses": frozenset("x")}, uuid="u")]) == []


def test_named_and_empty_means_empty() -> None:
    key = Key("Logical_Switch_Port", "Port/demo/a")
    (update,) = difference([Row(key, {"addresses": frozenset()})], [Row(key, {"addresses": frozenset("x")}, uuid="u")])
    assert isinstance(update, Update)
    assert update.columns == {"addresses": Members(remove=frozenset("x"))}


def test_of_a_set_only_what_differs_changes() -> None:
    key = Key("Address_Set", "Port/demo/a")
    wanted, there = frozenset({"1", "2", "3"}), frozenset({"2", "3", "4"})
    (update,) = difference([Row(key, {"addresses": wanted})], [Row(key, {"addresses": there}, uuid="u")])
    assert isinstance(update, Update)
    assert update.columns == {"addresses": Members(frozenset("1"), frozenset("4"))}


def test_of_references_those_to_rows_of_others_stay() -> None:
    switch, one, two = Key("Logical_Switch", "Subnet/demo/a"), balancer("one"), balancer("two")
    there = Row(switch, {"load_balancer": frozenset({Ref(one, "1"), "somebody-elses"})}, uuid="u")
    (update,) = difference([Row(switch, {"load_balancer": frozenset({Ref(two)})})], [there])
    assert isinstance(update, Update)
    assert update.columns == {"load_balancer": Members(frozenset({Ref(two)}), frozenset({Ref(one)}))}


def test_a_reference_to_a_twin_that_goes_is_made_anew() -> None:
    switch, one = Key("Logical_Switch", "Subnet/demo/a"), balancer("one")
    twins = [Row(one, {"name": "x"}, uuid="a"), Row(one, {"name": "one"}, uuid="b")]
    there = Row(switch, {"load_balancer": frozenset({Ref(one, "a")})}, uuid="s")
    wanted = [Row(one, {"name": "one"}), Row(switch, {"load_balancer": frozenset({Ref(one)})})]
    assert difference(wanted, [*twins, there]) == [
        Update(switch, {"load_balancer": Members(frozenset({Ref(one)}))}, uuid="s"),
        Delete(one, None, "a"),
    ]


def balancer(name: str) -> Key:
    return Key("Load_Balancer", f"Subnet/demo/a:{name}")


def test_of_groups_a_row_joins_and_leaves_only_what_differs() -> None:
    nic, (one, two, three) = port_key("demo/a"), (group(name) for name in ("one", "two", "three"))
    there = Row(nic, {}, uuid="u", groups=frozenset({replace(one, uuid="1"), replace(two, uuid="2")}))
    assert difference([Row(nic, {}, groups=frozenset({two, three}))], [there]) == [
        Update(nic, {}, uuid="u", join=frozenset({three}), leave=frozenset({one}))
    ]


def test_a_row_joins_the_twin_of_its_group_that_stays() -> None:
    nic, one = port_key("demo/a"), group("one")
    twins = [Row(one.key, {"name": "x"}, uuid="a"), Row(one.key, {"name": "one"}, uuid="b")]
    there = Row(nic, {}, uuid="u", groups=frozenset({replace(one, uuid="a")}))
    wanted = [Row(one.key, {"name": "one"}), Row(nic, {}, groups=frozenset({one}))]
    assert difference(wanted, [*twins, there]) == [
        Update(nic, {}, uuid="u", join=frozenset({one})),
        Delete(one.key, None, "a"),
    ]


def group(name: str) -> Parent:
    return Parent(Key("Port_Group", f"Subnet/demo/a:{name}"), "ports")


def test_of_twins_the_one_that_needs_least_stays() -> None:
    key = Key("DHCP_Options", "Subnet/demo/blue:v4")
    wanted = Row(key, {"cidr": "10.0.0.0/24"})
    twins = [Row(key, {"cidr": "wrong"}, uuid="a"), Row(key, {"cidr": "10.0.0.0/24"}, uuid="b")]
    assert difference([wanted], twins) == [Delete(key, None, "a")]


def test_a_changed_decision_is_refused_when_the_port_has_moved_on() -> None:
    of = subnet()
    there = apply(difference(topology(of, 1), []), [])
    late = difference(topology(of, 1, ChassisOptions(requested=("two",))), there)
    now = apply(difference(topology(of, 1, ChassisOptions(requested=("one",))), there), there)
    with pytest.raises(MismatchError, match="options is not what it was"):
        apply(late, now)


def test_two_compilers_at_odds_are_told() -> None:
    row = Row(Key("Logical_Switch", "Subnet/demo/blue"), {})
    with pytest.raises(ValueError, match="two rows are both Logical_Switch Subnet/demo/blue"):
        difference([row, replace(row)], [])


def test_insertions_come_parents_first_and_deletions_children_first() -> None:
    rows = topology(subnet(), 2)
    inserted = [op.key.table for op in difference(reversed(rows), []) if isinstance(op, Insert)]
    assert inserted == sorted(inserted, key=list(TABLES).index)
    deleted = [op.key.table for op in difference([], apply(difference(rows, []), []))]
    assert deleted == sorted(deleted, key=list(TABLES).index, reverse=True)

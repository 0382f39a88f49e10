"""The difference between two sets of rows, as properties: it is complete, minimal, and touches nothing of others'."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topology.samples import subnet, topology
from virtnet.handoff.options import ChassisOptions
from virtnet.topology.apply import MismatchError, apply
from virtnet.topology.difference import difference
from virtnet.topology.ownership import own, owned
from virtnet.topology.rows import Delete, Insert, Key, Keys, Parent, Ref, Row, Update
from virtnet.topology.tables import TABLES

words = st.sampled_from(["", "a", "b", "c"])
NAMES = [f"Subnet/demo/{letter}" for letter in "abc"]
chassis = st.builds(
    ChassisOptions,
    requested=st.lists(st.sampled_from(["one", "two", "three"]), unique=True, max_size=2).map(tuple),
    strategy=st.sampled_from(["", "rarp"]),
    journal=st.dictionaries(st.sampled_from(["state", "source"]), st.sampled_from(["x", "y"])),
)


@st.composite
def desires(draw):
    """Rows as compilers make them: each child with its parent, each reference with its row."""
    rows = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        switch, dhcp = Key("Logical_Switch", name), Key("DHCP_Options", f"{name}:v4")
        rows.append(Row(switch, {"name": draw(words), "external_ids": own(switch)}))
        rows.append(
            Row(
                dhcp,
                {"cidr": draw(words), "options": draw(maps(["mtu", "router"])), "external_ids": own(dhcp)},
            )
        )
    switches = [row.key for row in rows if row.key.table == "Logical_Switch"]
    if not switches:
        return rows
    for number in draw(st.lists(st.integers(0, 4), unique=True)):
        key, parent = Key("Logical_Switch_Port", f"Port/demo/p{number}"), draw(st.sampled_from(switches))
        rows.append(
            Row(
                key,
                {
                    "name": key.object,
                    "addresses": draw(st.frozensets(words)),
                    "dhcpv4_options": draw(st.sampled_from([None, Ref(Key("DHCP_Options", f"{parent.id}:v4"))])),
                    "options": draw(maps(["requested-chassis", "activation-strategy"])),
                    "external_ids": own(key, draw(maps(["handoff-state"]))),
                },
                Parent(parent, "ports"),
            )
        )
    return rows


def maps(names):
    return st.dictionaries(st.sampled_from(names), words)


@st.composite
def worlds(draw):
    """What may be in a database: what an earlier desire left, damaged by others, with rows and keys of their own."""
    rows = apply(difference(draw(desires()), []), [])
    damaged = []
    for row in rows:
        columns = dict(row.columns)
        for column in [c for c in draw(st.lists(st.sampled_from(sorted(columns)))) if c != "external_ids"]:
            columns[column] = draw(st.just(empty(columns[column])) | st.just(columns[column]))
        for column, value in columns.items():
            if isinstance(value, dict):
                columns[column] = {**value, **draw(maps(["foreign-a", "foreign-b"]))}
        damaged.append(replace(row, columns=columns))
        if draw(st.booleans()) and draw(st.booleans()):
            damaged.append(replace(row, uuid=f"a-twin-of-{row.uuid}"))
    switches = [row for row in damaged if row.key.table == "Logical_Switch"]
    foreign = Row(Key("Logical_Switch", "foreign"), {"name": "x", "external_ids": {}}, uuid="foreign-switch")
    damaged.append(foreign)
    for number, switch in enumerate([*switches, foreign]):
        if draw(st.booleans()):
            damaged.append(
                Row(
                    Key("Logical_Switch_Port", f"foreign-{number}"),
                    {"name": "y", "external_ids": {"neutron:id": "1"}},
                    Parent(switch.key, "ports", switch.uuid),
                    uuid=f"foreign-{number}",
                )
            )
    return damaged


def empty(value):
    return type(value)() if isinstance(value, str | frozenset | dict) else None


def ours(world):
    return [row for row in world if owned(row.key.table, row.columns["external_ids"])]


def mine(row):
    """What of a row is ours: map columns without others' keys, empty values alike."""
    table = TABLES[row.key.table]
    columns = {
        column: {n: v for n, v in value.items() if table.owns(column, n)} if isinstance(value, dict) else value or None
        for column, value in row.columns.items()
    }
    return replace(row, columns=columns)


def foreign_part(world):
    """All that is not ours: whole rows, and the keys in our maps."""
    keys = {}
    for row in world:
        table = TABLES[row.key.table]
        if not owned(row.key.table, row.columns["external_ids"]):
            keys[row.uuid] = row
            continue
        for column, value in row.columns.items():
            if isinstance(value, dict):
                keys[row.uuid, column] = {n: v for n, v in value.items() if not table.owns(column, n)}
    return keys


@settings(max_examples=100)
@given(desires(), worlds())
def test_applying_the_difference_gives_what_is_desired(desired, world):
    after = ours(apply(difference(desired, ours(world)), world))
    assert sorted(map(mine, after), key=lambda row: row.key) == sorted(map(mine, desired), key=lambda row: row.key)


@settings(max_examples=100)
@given(desires(), worlds())
def test_there_is_no_difference_after_it_was_applied(desired, world):
    after = apply(difference(desired, ours(world)), world)
    assert difference(desired, ours(after)) == []


@settings(max_examples=100)
@given(desires(), worlds())
def test_nothing_of_others_is_touched(desired, world):
    after = apply(difference(desired, ours(world)), world)
    before = foreign_part(world)
    there = {row.uuid for row in after}
    # A switch of ours that goes takes with it what others hung on it; only that may be missing.
    for name, value in before.items():
        hung = isinstance(value, Row) and value.parent is not None and value.parent.uuid not in there
        if name in foreign_part(after):
            assert foreign_part(after)[name] == value
        else:
            assert hung or isinstance(name, tuple)


@given(desires(), worlds(), st.randoms())
def test_the_order_of_rows_does_not_matter(desired, world, random):
    shuffled, mixed = list(desired), ours(world)
    random.shuffle(shuffled)
    random.shuffle(mixed)
    assert difference(shuffled, mixed) == difference(desired, ours(world))


@given(chassis, chassis)
def test_one_port_changes_chassis_by_one_verified_update(old, new):
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


def test_stale_keys_of_ours_go_and_others_stay():
    key = Key("Logical_Switch_Port", "Port/demo/a")
    wanted = Row(key, {"options": {"requested-chassis": "one"}})
    there = Row(key, {"options": {"requested-chassis": "one,two", "activation-strategy": "rarp", "qos": "1"}}, uuid="u")
    (update,) = difference([wanted], [there])
    assert update.columns == {"options": Keys({"requested-chassis": "one"}, frozenset({"activation-strategy"}))}


def test_columns_that_are_not_named_are_left_alone():
    key = Key("Logical_Switch_Port", "Port/demo/a")
    assert difference([Row(key, {"type": ""})], [Row(key, {"type": "", "addresses": frozenset("x")}, uuid="u")]) == []


def test_named_and_empty_means_empty():
    key = Key("Logical_Switch_Port", "Port/demo/a")
    (update,) = difference([Row(key, {"addresses": frozenset()})], [Row(key, {"addresses": frozenset("x")}, uuid="u")])
    assert update.columns == {"addresses": frozenset()}


def test_of_twins_the_one_that_needs_least_stays():
    key = Key("DHCP_Options", "Subnet/demo/blue:v4")
    wanted = Row(key, {"cidr": "10.0.0.0/24"})
    twins = [Row(key, {"cidr": "wrong"}, uuid="a"), Row(key, {"cidr": "10.0.0.0/24"}, uuid="b")]
    assert difference([wanted], twins) == [Delete(key, None, "a")]


def test_a_changed_decision_is_refused_when_the_port_has_moved_on():
    of = subnet()
    there = apply(difference(topology(of, 1), []), [])
    late = difference(topology(of, 1, ChassisOptions(requested=("two",))), there)
    now = apply(difference(topology(of, 1, ChassisOptions(requested=("one",))), there), there)
    with pytest.raises(MismatchError, match="options is not what it was"):
        apply(late, now)


def test_two_compilers_at_odds_are_told():
    row = Row(Key("Logical_Switch", "Subnet/demo/blue"), {})
    with pytest.raises(ValueError, match="two rows are both Logical_Switch Subnet/demo/blue"):
        difference([row, replace(row)], [])


def test_insertions_come_parents_first_and_deletions_children_first():
    rows = topology(subnet(), 2)
    inserted = [op.key.table for op in difference(reversed(rows), []) if isinstance(op, Insert)]
    assert inserted == sorted(inserted, key=list(TABLES).index)
    deleted = [op.key.table for op in difference([], apply(difference(rows, []), []))]
    assert deleted == sorted(deleted, key=list(TABLES).index, reverse=True)

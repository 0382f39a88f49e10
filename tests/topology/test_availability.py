"""What an OVN of another version has no place for is told, and the rest of the rows differs in nothing once written."""

from virtnet.topology.apply import apply
from virtnet.topology.availability import Available, fitted
from virtnet.topology.difference import difference
from virtnet.topology.ownership import own
from virtnet.topology.rows import Key, Parent, Ref, Row
from virtnet.topology.tables import TABLES

SWITCH, LIMIT, WEB = (
    Key("Logical_Switch", "Subnet/demo/a"),
    Key("QoS", "Port/demo/x"),
    Key("Load_Balancer", "Port/demo/x"),
)
ROWS = [
    Row(WEB, {"name": "web", "vips": {"10.0.0.1:80": "10.0.0.5:80"}, "external_ids": own(WEB)}),
    Row(SWITCH, {"name": "a", "load_balancer": frozenset({Ref(WEB)}), "other_config": {}, "external_ids": own(SWITCH)}),
    Row(LIMIT, {"match": "ip", "bandwidth": {"rate": 1}, "external_ids": own(LIMIT)}, Parent(SWITCH, "qos_rules")),
]
EVERYTHING: Available = {name: frozenset((*table.columns, *table.listing)) for name, table in TABLES.items()}


def without(table: str, column: str = "") -> Available:
    if not column:
        return {name: columns for name, columns in EVERYTHING.items() if name != table}
    return {**EVERYTHING, table: EVERYTHING[table] - {column}}


def test_an_ovn_that_has_all_lacks_nothing() -> None:
    found = fitted(ROWS, EVERYTHING)
    assert (found.rows, found.lacks) == (ROWS, {})


def test_a_column_that_says_nothing_is_not_missed() -> None:
    found = fitted(ROWS, without("Logical_Switch", "other_config"))
    assert found.lacks == {}
    assert "other_config" not in found.rows[1].columns


def test_a_missing_column_is_told_of_the_row_that_needs_it() -> None:
    found = fitted(ROWS, without("QoS", "bandwidth"))
    assert found.lacks == {LIMIT: ("QoS.bandwidth",)}
    assert found.rows[2].columns == {"match": "ip", "external_ids": own(LIMIT)}


def test_a_missing_table_is_told_of_its_rows_and_of_those_that_refer_to_them() -> None:
    found = fitted(ROWS, without("Load_Balancer"))
    assert found.lacks == {WEB: ("Load_Balancer",), SWITCH: ("Load_Balancer",)}
    assert [row.key for row in found.rows] == [SWITCH, LIMIT]
    assert found.rows[0].columns["load_balancer"] == frozenset()


def test_a_row_that_nothing_can_list_is_left_out() -> None:
    found = fitted(ROWS, without("Logical_Switch", "qos_rules"))
    assert found.lacks == {LIMIT: ("Logical_Switch.qos_rules",)}
    assert [row.key for row in found.rows] == [WEB, SWITCH]


def test_what_fits_differs_in_nothing_once_it_is_written() -> None:
    for available in (without("QoS", "bandwidth"), without("Load_Balancer"), without("Logical_Switch", "qos_rules")):
        rows = fitted(ROWS, available).rows
        assert difference(rows, apply(difference(rows, []), [])) == []

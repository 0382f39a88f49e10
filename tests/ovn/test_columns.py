"""How values of columns are read, and changed, as ovsdb-server(7) says that "update2" tells it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ovs.db.types import Type

from tests.ovn.waiting import until
from virtnet.lab.ovn_central import OvnCentral
from virtnet.ovn.columns import Column, Delta, changed, read
from virtnet.ovn.connection import Connection, Dump, RowChange

TEXTS = st.text("ab", max_size=2)
UUIDS = [f"00000000-0000-4000-8000-{number:012x}" for number in range(4)]

KINDS: dict[str, Any] = {
    "text": "string",
    "number": "integer",
    "flag": "boolean",
    "optional": {"key": "string", "min": 0, "max": 1},
    "set": {"key": "string", "min": 0, "max": "unlimited"},
    "references": {"key": {"type": "uuid", "refTable": "Other"}, "min": 0, "max": "unlimited"},
    "map": {"key": "string", "value": "string", "min": 0, "max": "unlimited"},
}
TABLE = {name: Column.of(Type.from_json(kind)) for name, kind in KINDS.items()}
ROWS = st.fixed_dictionaries(
    {
        "text": TEXTS,
        "number": st.integers(0, 3),
        "flag": st.booleans(),
        "optional": st.none() | TEXTS,
        "set": st.frozensets(TEXTS),
        "references": st.frozensets(st.sampled_from(UUIDS)),
        "map": st.dictionaries(TEXTS, TEXTS, max_size=3),
    }
)
DEFAULTS: dict[str, Any] = {
    "text": "",
    "number": 0,
    "flag": False,
    "optional": None,
    "set": frozenset(),
    "references": frozenset(),
    "map": {},
}


def atom(value: Any) -> Any:
    return ["uuid", value] if value in UUIDS else value


def encoded(value: Any) -> Any:
    """A value in the JSON of RFC 7047; of a set with one element that element alone."""
    match value:
        case dict():
            return ["map", [[key, one] for key, one in value.items()]]
        case frozenset() if len(value) == 1:
            return atom(next(iter(value)))
        case frozenset():
            return ["set", [atom(one) for one in value]]
        case None:
            return ["set", []]
        case _:
            return atom(value)


def change(before: Any, after: Any) -> Any:
    """What the server sends of a column that has changed."""
    match before, after:
        case dict(), dict():
            gone = {key: value for key, value in before.items() if key not in after}
            return encoded(gone | {key: value for key, value in after.items() if before.get(key) != value})
        case frozenset(), frozenset():
            return encoded(before ^ after)
        case _:
            return encoded(after)


@given(row=ROWS)
def test_a_new_row_is_read(row: dict[str, Any]) -> None:
    """The server leaves out what has its default."""
    sent = json.loads(json.dumps({name: encoded(value) for name, value in row.items() if value != DEFAULTS[name]}))
    assert read(TABLE, sent) == row


@given(before=ROWS, after=ROWS)
def test_a_change_makes_the_row_what_it_is_now(before: dict[str, Any], after: dict[str, Any]) -> None:
    names = [name for name in KINDS if before[name] != after[name]]
    sent = json.loads(json.dumps({name: change(before[name], after[name]) for name in names}))
    untouched = {name: value.copy() if isinstance(value, dict) else value for name, value in before.items()}
    found, deltas = changed(TABLE, before, sent)
    old, new = before["references"], after["references"]
    assert found == after
    assert before == untouched, "values are shared, and never changed in place"
    assert deltas == ({"references": Delta(new - old, old - new)} if old != new else {})


@pytest.mark.system
async def test_what_was_told_by_changes_is_what_a_dump_tells(northbound_server: OvnCentral) -> None:
    """And python-ovs keeps none of it."""
    changes: list[Dump | list[RowChange]] = []
    wanted = {"Logical_Switch": ("name", "ports", "external_ids"), "Logical_Switch_Port": ("name", "enabled", "tag")}
    remote = northbound_server.remote("nb")

    async def opened() -> Connection:
        return await Connection.open(remote, "OVN_Northbound", wanted, changes.append)

    def rows() -> dict[tuple[str, str], Any]:
        found: dict[tuple[str, str], Any] = {}
        for report in changes:
            if isinstance(report, Dump):
                found = {(table, uuid): row for table, them in report.rows.items() for uuid, row in them.items()}
            else:
                found |= {(one.table, one.uuid): one.columns for one in report}
        return {key: row for key, row in found.items() if row is not None}

    connection = await opened()
    port = {"op": "insert", "table": "Logical_Switch_Port"}
    ports = [{**port, "uuid-name": f"p{number}", "row": {"name": f"p{number}"}} for number in range(3)]
    listed = ["set", [["named-uuid", f"p{number}"] for number in range(3)]]
    switch = {"op": "insert", "table": "Logical_Switch", "row": {"name": "s", "ports": listed}}
    at: dict[str, Any] = {"table": "Logical_Switch", "where": [["name", "==", "s"]]}
    await connection.transact([*ports, switch])
    first = next(uuid for (_, uuid), row in rows().items() if row["name"] == "p0")
    ids = ["external_ids", "insert", ["map", [["a", "1"], ["b", "2"]]]]
    await connection.transact([{"op": "mutate", **at, "mutations": [ids, ["ports", "delete", ["uuid", first]]]}])
    await connection.transact([{"op": "mutate", **at, "mutations": [["external_ids", "delete", ["set", ["a"]]]]}])
    where = [["name", "==", "p1"]]
    row = {"enabled": False, "tag": 5}
    await connection.transact([{"op": "update", "table": "Logical_Switch_Port", "where": where, "row": row}])
    by_changes = rows()
    assert sorted(row["name"] for row in by_changes.values()) == ["p1", "p2", "s"]
    assert not any(table.rows for table in connection._replica.tables.values())
    await connection.close()
    changes.clear()
    connection = await opened()
    await until(lambda: bool(changes))
    assert rows() == by_changes
    await connection.close()

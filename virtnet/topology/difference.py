"""What has to be done so that the rows that are there become the rows that should be there. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from virtnet.topology.rows import (
    Change,
    Delete,
    Element,
    Elements,
    Insert,
    Key,
    Keys,
    Members,
    Op,
    Parent,
    Ref,
    Row,
    Update,
    Value,
)
from virtnet.topology.tables import RANK, TABLES, ColumnType, Table

_NO_UUIDS: frozenset[str] = frozenset()


def difference(desired: Iterable[Row], observed: Iterable[Row]) -> list[Op]:
    """The operations, in an order that depends on nothing but the rows: insertions, changes, deletions.

    ``observed`` holds rows of ours only, and its scope is what is decided about: a row in it that is not desired goes.
    Columns, map keys and references that are not ours are left alone. Of several rows with one key the one that needs
    the fewest changes stays. Raises ValueError when two desired rows have one key: then two compilers are at odds.
    """
    wanted = _by_key(desired)
    present = defaultdict(list)
    for row in observed:
        present[row.key].append(row)
    kept = {key: _closest(wanted[key], rows) for key, rows in present.items() if key in wanted}
    gone = [row for key, rows in present.items() for row in rows if row is not kept.get(key)]
    surplus = frozenset(row.uuid for row in gone)
    changes = (_change(wanted[key], row, surplus) for key, row in kept.items())
    return [
        *(Insert(wanted[key]) for key in sorted(wanted.keys() - kept.keys(), key=_order)),
        *sorted((change for change in changes if change), key=lambda change: _order(change.key)),
        *(
            Delete(row.key, row.parent, row.uuid)
            for row in sorted(gone, key=lambda row: (-RANK[row.key.table], row.key.id, row.uuid))
        ),
    ]


def _order(key: Key) -> tuple[int, str]:
    return RANK[key.table], key.id


def _by_key(rows: Iterable[Row]) -> dict[Key, Row]:
    found: dict[Key, Row] = {}
    for row in rows:
        if found.setdefault(row.key, row) is not row:
            raise ValueError(f"two rows are both {row.key}")
    return found


def _closest(wanted: Row, rows: list[Row]) -> Row:
    if len(rows) == 1:
        return rows[0]

    def cost(row: Row) -> tuple[int, str]:
        change = _change(wanted, row, _NO_UUIDS)
        if change is None:
            return 0, row.uuid
        return len(change.columns) + (change.parent is not None) + len(change.join | change.leave), row.uuid

    return min(rows, key=cost)


def _change(wanted: Row, row: Row, gone: frozenset[str]) -> Update | None:
    """The update of one row; None when nothing of ours in it differs. ``gone`` are rows that are about to vanish."""
    table = TABLES[row.key.table]
    columns: dict[str, Change] = {}
    for column, value in wanted.columns.items():
        held = row.columns.get(column)
        if isinstance(value, Mapping):
            keys = _keys(table, column, value, held if isinstance(held, Mapping) else {})
            if keys is not None:
                columns[column] = keys
        elif isinstance(value, frozenset):
            members = _members(table.columns[column], value, held if isinstance(held, frozenset) else frozenset(), gone)
            if members is not None:
                columns[column] = members
        elif not _same(value, held, gone):
            columns[column] = value
    parent = None if _hangs(wanted.parent, row.parent, gone) else wanted.parent
    there = frozenset(group for group in row.groups if group.uuid not in gone)
    join, leave = wanted.groups - there, there - wanted.groups
    if not columns and parent is None and not join and not leave:
        return None
    verify = {column: row.columns[column] for column in columns if column in table.verify and column in row.columns}
    return Update(row.key, columns, parent, verify, row.uuid, join, leave)


def _members(kind: ColumnType, wanted: Elements, there: Elements, gone: frozenset[str]) -> Members | None:
    """What of a set has to change. References to rows that are about to vanish vanish with them."""
    lasting = frozenset(one for one in there if not (isinstance(one, Ref) and one.uuid in gone))
    ours = frozenset(one for one in lasting if kind is not ColumnType.REFS or isinstance(one, Ref))
    put, remove = frozenset[Element](wanted) - lasting, ours - wanted
    return Members(put, remove) if put or remove else None


def _keys(
    table: Table,
    column: str,
    wanted: Mapping[str, str] | Mapping[str, int],
    there: Mapping[str, str] | Mapping[str, int],
) -> Keys | None:
    put: Any = {name: value for name, value in wanted.items() if there.get(name) != value}
    remove = frozenset(name for name in there if name not in wanted and table.owns(column, name))
    return Keys(put, remove) if put or remove else None


def _same(wanted: Value, there: Value, gone: frozenset[str]) -> bool:
    if isinstance(wanted, Ref) and isinstance(there, Ref) and there.uuid in gone:
        return False
    return wanted == there or (_empty(wanted) and _empty(there))


def _empty(value: Value) -> bool:
    """Whether a column that holds this says nothing: OVN has several ways to say it."""
    return value is None or value in ("", frozenset())


def _hangs(wanted: Parent | None, there: Parent | None, gone: frozenset[str]) -> bool:
    return wanted == there and (there is None or there.uuid not in gone)

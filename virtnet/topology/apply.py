"""What a database would hold after operations: the model that tests, the fake and previews go by. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

from virtnet.topology.rows import (
    Change,
    Delete,
    Element,
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
from virtnet.topology.tables import TABLES, ColumnType


class MismatchError(Exception):
    """An operation needs a row that is not there, or that holds something else by now."""


def apply(ops: Iterable[Op], rows: Iterable[Row], uuids: Iterator[str] | None = None) -> list[Row]:
    """The rows after the operations, with a uuid each. Raises MismatchError, and then nothing has happened.

    New rows get their uuids from ``uuids``.

    As in OVSDB, a row that no parent lists any more vanishes, and weak references to vanished rows are emptied. Rows
    of others may be among the rows, with keys of their own.
    """
    ops = list(ops)
    state = _State(rows, uuids)
    inserted = [state.insert(op.row) for op in ops if isinstance(op, Insert)]
    for op in ops:
        if isinstance(op, Delete):
            state.delete(op)
    for op in ops:
        if isinstance(op, Update):
            state.update(op)
    for uuid in inserted:
        state.settle(uuid)
    return list(state.left())


class _State:
    def __init__(self, rows: Iterable[Row], uuids: Iterator[str] | None) -> None:
        self.rows = {row.uuid: row for row in rows}
        self.uuids = uuids or (uuid for number in count() if (uuid := f"new-{number}") not in self.rows)
        self.keys: dict[Key, dict[str, None]] = defaultdict(dict)
        for row in self.rows.values():
            self.keys[row.key][row.uuid] = None

    def find(self, key: Key, uuid: str = "") -> str:
        """The row's uuid; empty if it is not there."""
        if uuid:
            return uuid if uuid in self.rows else ""
        return next(iter(self.keys[key]), "")

    def insert(self, row: Row) -> str:
        if self.find(row.key):
            raise MismatchError(f"{row.key} is there already")
        uuid = next(self.uuids)
        self.rows[uuid] = replace(row, uuid=uuid)
        self.keys[row.key][uuid] = None
        return uuid

    def delete(self, op: Delete) -> None:
        uuid = self.find(op.key, op.uuid)
        if uuid:
            del self.rows[uuid], self.keys[op.key][uuid]

    def update(self, op: Update) -> None:
        uuid = self.find(op.key, op.uuid)
        if not uuid:
            raise MismatchError(f"{op.key} is gone")
        row = self.rows[uuid]
        for column, value in op.verify.items():
            if row.columns.get(column) != value:
                raise MismatchError(f"{op.key}: {column} is not what it was")
        columns = {column: self.changed(row.columns.get(column), value) for column, value in op.columns.items()}
        parent = self.attached(op.parent) if op.parent else row.parent
        groups = self.joined(op.join) | (row.groups - op.leave)
        self.rows[uuid] = replace(row, columns={**row.columns, **columns}, parent=parent, groups=groups)

    def settle(self, uuid: str) -> None:
        """Resolve what an inserted row refers to, now that all are there."""
        row = self.rows[uuid]
        columns = {column: self.changed(None, value) for column, value in row.columns.items()}
        groups = self.joined(row.groups)
        self.rows[uuid] = replace(row, columns=columns, parent=self.attached(row.parent), groups=groups)

    def changed(self, there: Value, change: Change) -> Value:
        if isinstance(change, Keys):
            known: Mapping[str, Any] = there if isinstance(there, Mapping) else {}
            return {**{name: text for name, text in known.items() if name not in change.remove}, **change.put}
        if isinstance(change, Members):
            kept = there if isinstance(there, frozenset) else frozenset()
            # The new come first: of two references to twins, the one to the twin that stays is to be seen.
            return frozenset(map(self.element, change.put)) | (frozenset[Element](kept) - change.remove)
        if isinstance(change, frozenset):
            return frozenset(map(self.element, change))
        return self.element(change) if isinstance(change, Ref) else change

    def element(self, element: Element) -> Element:
        """A reference with the uuid of what it refers to; a string as it is."""
        if isinstance(element, str):
            return element
        uuid = self.find(element.key, element.uuid)
        if not uuid:
            raise MismatchError(f"{element.key} is not there")
        return Ref(element.key, uuid)

    def attached(self, parent: Parent | None) -> Parent | None:
        if parent is None:
            return None
        uuid = self.find(parent.key, parent.uuid)
        if not uuid:
            raise MismatchError(f"{parent.key} is not there")
        return replace(parent, uuid=uuid)

    def joined(self, groups: frozenset[Parent]) -> frozenset[Parent]:
        return frozenset(found for group in groups if (found := self.attached(group)) is not None)

    def left(self) -> Iterator[Row]:
        """The rows that still have what they hang on, with the references that still lead somewhere."""
        left = {
            uuid: row
            for uuid, row in self.rows.items()
            if TABLES[row.key.table].root or (row.parent is not None and row.parent.uuid in self.rows)
        }
        for row in left.values():
            kinds = TABLES[row.key.table].columns
            lost = [
                column
                for column, value in row.columns.items()
                if kinds[column] is ColumnType.REF and isinstance(value, Ref) and value.uuid not in left
            ]
            emptied: dict[str, Value] = dict.fromkeys(lost)
            for column, value in row.columns.items():
                if kinds[column] is ColumnType.REFS and isinstance(value, frozenset):
                    there = frozenset(one for one in value if isinstance(one, str) or one.uuid in left)
                    emptied |= {column: there} if len(there) < len(value) else {}
            groups = frozenset(group for group in row.groups if group.uuid in left)
            changes = bool(emptied) or groups != row.groups
            yield replace(row, columns={**row.columns, **emptied}, groups=groups) if changes else row

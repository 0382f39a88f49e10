"""Rows of ours as the northbound database has them, by uuid, by key and by API object. Lives in the event loop."""

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Self

from virtnet.ovn.columns import Columns, Delta
from virtnet.ovn.replica import Dump, RowChange
from virtnet.topology.ownership import owned
from virtnet.topology.rows import Element, Key, Parent, Ref, Row, Value
from virtnet.topology.tables import TABLES, ColumnType

_REFS = {
    name: tuple(column for column, kind in table.columns.items() if kind is ColumnType.REF)
    for name, table in TABLES.items()
}
_SETS = {
    name: tuple(column for column, kind in table.columns.items() if kind is ColumnType.REFS)
    for name, table in TABLES.items()
}


class RowIndex:
    """Made from a dump and fed with changes; every feed returns the keys that it concerns."""

    def __init__(self, kinds: Container[str] | None = None) -> None:
        """``kinds``: of API objects; rows of others are not ours."""
        self._kinds = kinds
        self._columns: dict[str, Mapping[str, Any]] = {}
        self._keys: dict[str, Key] = {}
        self._uuids: dict[Key, dict[str, None]] = {}
        self._origins: dict[str, dict[Key, None]] = defaultdict(dict)
        self._parents: dict[str, tuple[str, str, str]] = {}
        """uuid -> (table and uuid of what lists it, column)"""
        self._groups: dict[str, set[tuple[str, str]]] = {}
        """uuid -> (uuid of what it is a member of, column)"""

    @classmethod
    def of(cls, dump: Dump, kinds: Container[str] | None = None) -> Self:
        self = cls(kinds)
        for table, rows in dump.rows.items():
            for uuid, columns in rows.items():
                self._put(table, uuid, columns)
        return self

    @property
    def keys(self) -> frozenset[Key]:
        return frozenset(self._uuids)

    def apply(self, changes: Iterable[RowChange]) -> frozenset[Key]:
        concerned: set[Key] = set()
        for change in changes:
            if change.columns is None:
                concerned.update(self._forget(change.uuid))
                concerned.update(self._dissolve(change.table, change.uuid))
                self._columns.pop(change.uuid, None)
                self._parents.pop(change.uuid, None)
                self._groups.pop(change.uuid, None)
            elif change.new:
                concerned.update(self._put(change.table, change.uuid, change.columns))
            else:
                concerned.update(self._update(change.table, change.uuid, change.columns, change.deltas))
        return frozenset(concerned)

    def rows(self, keys: Iterable[Key] | None = None) -> list[Row]:
        if keys is None:
            return [self._row(uuid, key) for uuid, key in self._keys.items()]
        return [self._row(uuid, key) for key in keys for uuid in self._uuids.get(key, ())]

    def of_origin(self, origin: str) -> list[Row]:
        return self.rows(self._origins.get(origin, ()))

    def find(self, key: Key, uuid: str = "") -> str:
        """The uuid of a row; empty if there is none."""
        if uuid:
            return uuid if uuid in self._keys else ""
        return next(iter(self._uuids.get(key, ())), "")

    def parent(self, uuid: str) -> tuple[str, str, str] | None:
        """Table, uuid and column of what lists a row; None if nothing of ours does."""
        found = self._parents.get(uuid)
        return found if found and found[1] in self._keys else None

    def _row(self, uuid: str, key: Key) -> Row:
        columns: Mapping[str, Value] = self._columns[uuid]
        if lists := TABLES[key.table].listing:
            columns = {column: value for column, value in columns.items() if column not in lists}
        for column in _REFS[key.table]:
            target = columns.get(column)
            if isinstance(target, str) and target in self._keys:
                columns = {**columns, column: Ref(self._keys[target], target)}
        for column in _SETS[key.table]:
            targets: Any = columns.get(column) or frozenset()
            columns = {**columns, column: frozenset(map(self._element, targets))}
        parent = self.parent(uuid)
        groups = frozenset(
            Parent(self._keys[group], column, group)
            for group, column in self._groups.get(uuid, ())
            if group in self._keys
        )
        return Row(key, columns, Parent(self._keys[parent[1]], parent[2], parent[1]) if parent else None, uuid, groups)

    def _element(self, uuid: str) -> Element:
        return Ref(self._keys[uuid], uuid) if uuid in self._keys else uuid

    def _put(self, table: str, uuid: str, columns: Columns) -> Iterator[Key]:
        for column in TABLES[table].children:
            for child in columns.get(column, ()):
                self._parents[child] = (table, uuid, column)
        self._columns[uuid] = columns
        found = self._recognise(table, uuid)
        members = [self._join(uuid, column, columns.get(column, ())) for column in TABLES[table].members]
        return chain(found, *members)

    def _recognise(self, table: str, uuid: str) -> Iterator[Key]:
        key = owned(table, self._columns[uuid], self._kinds)
        if key is None:
            return iter(())
        self._keys[uuid] = key
        self._uuids.setdefault(key, {})[uuid] = None
        self._origins[key.origin][key] = None
        return iter((key,))

    def _forget(self, uuid: str) -> Iterator[Key]:
        key = self._keys.pop(uuid, None)
        if key is None:
            return iter(())
        del self._uuids[key][uuid]
        if not self._uuids[key]:
            del self._uuids[key]
            del self._origins[key.origin][key]
            if not self._origins[key.origin]:
                del self._origins[key.origin]
        return iter((key,))

    def _update(self, table: str, uuid: str, columns: Columns, deltas: Mapping[str, Delta]) -> Iterator[Key]:
        before, lists = self._columns[uuid], TABLES[table]
        for column, delta in deltas.items():
            if column in lists.children:
                yield from self._rehang(table, uuid, column, delta)
            elif column in lists.members:
                yield from self._leave(uuid, column, delta.removed)
                yield from self._join(uuid, column, delta.added)
        self._columns[uuid] = columns
        if any(value is not before[column] for column, value in columns.items() if column not in lists.listing):
            yield from self._forget(uuid)
            yield from self._recognise(table, uuid)

    def _rehang(self, table: str, uuid: str, column: str, delta: Delta) -> Iterator[Key]:
        """Note children that ceased to hang here or came to; they are what is concerned, not their parent."""
        for child in delta.removed:
            if self._parents.get(child) == (table, uuid, column):
                del self._parents[child]
        for child in delta.added:
            self._parents[child] = (table, uuid, column)
        return self._known(delta.added | delta.removed)

    def _join(self, group: str, column: str, members: Iterable[str]) -> Iterator[Key]:
        for member in members:
            self._groups.setdefault(member, set()).add((group, column))
        return self._known(members)

    def _leave(self, group: str, column: str, members: Iterable[str]) -> Iterator[Key]:
        for member in members:
            there = self._groups.get(member, set())
            there.discard((group, column))
            if not there:
                self._groups.pop(member, None)
        return self._known(members)

    def _dissolve(self, table: str, group: str) -> Iterator[Key]:
        """Note that a group's members are in it no more."""
        columns = self._columns.get(group, {})
        for column in TABLES[table].members:
            yield from self._leave(group, column, columns.get(column, ()))

    def _known(self, uuids: Iterable[str]) -> Iterator[Key]:
        return (self._keys[uuid] for uuid in uuids if uuid in self._keys)

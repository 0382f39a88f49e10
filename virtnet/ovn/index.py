"""Rows of ours as the northbound database has them, by uuid, by key and by API object. Lives in the event loop."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from virtnet.ovn.replica import Columns, Delta, Dump, RowChange
from virtnet.topology.ownership import owned
from virtnet.topology.rows import Key, Parent, Ref, Row, Value
from virtnet.topology.tables import TABLES, Column

_REFS = {
    name: tuple(column for column, kind in table.columns.items() if kind is Column.REF)
    for name, table in TABLES.items()
}


class Index:
    """Made from a dump and fed with changes; every feed returns the keys that it concerns."""

    def __init__(self) -> None:
        self._columns: dict[str, Mapping[str, Any]] = {}
        self._keys: dict[str, Key] = {}
        self._uuids: dict[Key, dict[str, None]] = {}
        self._origins: dict[str, dict[Key, None]] = defaultdict(dict)
        self._parents: dict[str, tuple[str, str, str]] = {}
        """uuid -> (table and uuid of what lists it, column)"""

    @classmethod
    def of(cls, dump: Dump) -> Self:
        self = cls()
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
                self._columns.pop(change.uuid, None)
                self._parents.pop(change.uuid, None)
            elif change.new:
                concerned.update(self._put(change.table, change.uuid, change.columns))
            else:
                concerned.update(self._update(change.table, change.uuid, change.columns))
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
        for column in _REFS[key.table]:
            target = columns.get(column)
            if isinstance(target, str) and target in self._keys:
                columns = {**columns, column: Ref(self._keys[target], target)}
        parent = self.parent(uuid)
        return Row(key, columns, Parent(self._keys[parent[1]], parent[2], parent[1]) if parent else None, uuid)

    def _put(self, table: str, uuid: str, columns: Columns) -> Iterator[Key]:
        lists = TABLES[table].children
        for column in lists:
            for child in columns.get(column, ()):
                self._parents[child] = (table, uuid, column)
        self._columns[uuid] = {column: value for column, value in columns.items() if column not in lists}
        return self._recognise(table, uuid)

    def _recognise(self, table: str, uuid: str) -> Iterator[Key]:
        key = owned(table, self._columns[uuid].get("external_ids", {}))
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

    def _update(self, table: str, uuid: str, changed: Columns) -> Iterator[Key]:
        plain = {}
        for column, value in changed.items():
            if isinstance(value, Delta):
                yield from self._rehang(table, uuid, column, value)
            else:
                plain[column] = value
        if plain:
            yield from self._forget(uuid)
            self._columns[uuid] = {**self._columns[uuid], **plain}
            yield from self._recognise(table, uuid)

    def _rehang(self, table: str, uuid: str, column: str, delta: Delta) -> Iterator[Key]:
        """Note children that ceased to hang here or came to; they are what is concerned, not their parent."""
        for child in delta.removed:
            if self._parents.get(child) == (table, uuid, column):
                del self._parents[child]
        for child in delta.added:
            self._parents[child] = (table, uuid, column)
        return (self._keys[child] for child in delta.added | delta.removed if child in self._keys)

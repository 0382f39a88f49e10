"""From operations on rows to OVSDB operations (RFC 7047, section 5.2). Pure, given the index."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from virtnet.ovn.errors import Stale
from virtnet.ovn.index import RowIndex
from virtnet.topology.rows import Change, Delete, Element, Insert, Key, Keys, Members, Op, Parent, Ref, Row, Update
from virtnet.topology.tables import TABLES

Operation = Mapping[str, Any]
Uuid = list[str]
"""``["uuid", ...]`` of a row that is there, ``["named-uuid", ...]`` of one that this transaction inserts."""


def encode(ops: Sequence[Op], index: RowIndex, available: Mapping[str, frozenset[str]]) -> list[Operation]:
    """The OVSDB operations, each row addressed by its uuid. Raises Stale when the index has moved on.

    Every row that is changed or gets a child has to be there still, else the whole transaction is refused: OVSDB by
    itself does nothing to a row that is gone, and silently drops a child that nobody lists.
    ``available`` are the columns that this version of OVN has; others are left out.
    """
    return _Encoder(ops, index, available).encode()


class _Encoder:
    def __init__(self, ops: Sequence[Op], index: RowIndex, available: Mapping[str, frozenset[str]]) -> None:
        self._ops = ops
        self._index = index
        self._available = available
        self._inserted = {op.key: f"row{number}" for number, op in enumerate(ops) if isinstance(op, Insert)}
        self._deleted = {self._index.find(op.key, op.uuid) for op in ops if isinstance(op, Delete)}
        self._guards: dict[tuple[str, str], dict[str, Any]] = {}
        self._children: dict[tuple[str, str, str], dict[str, list[Uuid]]] = defaultdict(lambda: defaultdict(list))

    def encode(self) -> list[Operation]:
        operations = [operation for op in self._ops for operation in self._one(op)]
        children = [self._mutate(*where, mutations) for where, mutations in self._children.items()]
        guards = [_wait(table, uuid, columns) for (table, uuid), columns in self._guards.items()]
        return [*guards, *operations, *children]

    def _one(self, op: Op) -> list[Operation]:
        match op:
            case Insert():
                _check(op.key, op.row.columns)
                return self._insert(op.row)
            case Update():
                _check(op.key, op.columns)
                return self._update(op)
            case Delete():
                return self._delete(op)

    def _insert(self, row: Row) -> list[Operation]:
        if self._index.find(row.key) and self._index.find(row.key) not in self._deleted:
            raise Stale(f"{row.key} is there already")
        name = self._inserted[row.key]
        values = {column: value for column, value in row.columns.items() if value or isinstance(value, bool | int)}
        if row.parent:
            self._hang(row.parent, ["named-uuid", name])
        for group in row.groups:
            self._hang(group, ["named-uuid", name])
        return [{"op": "insert", "table": row.key.table, "uuid-name": name, "row": self._values(row.key, values)}]

    def _update(self, op: Update) -> list[Operation]:
        table, uuid = op.key.table, self._present(op.key, op.uuid)
        self._guards[table, uuid] = self._values(op.key, op.verify)
        operations: list[Operation] = []
        if op.parent:
            operations += self._unhang(table, uuid)
            self._hang(op.parent, ["uuid", uuid])
        for group in op.join:
            self._hang(group, ["uuid", uuid])
        for group in op.leave:
            self._leave(group, ["uuid", uuid])
        known = {column: value for column, value in op.columns.items() if column in self._available[table]}
        whole = {column: value for column, value in known.items() if not isinstance(value, Keys | Members)}
        mutations = [mutation for column, value in known.items() for mutation in self._mutations(column, value)]
        if whole:
            operations.append({"op": "update", "table": table, "where": _is(uuid), "row": self._values(op.key, whole)})
        if mutations:
            operations.append({"op": "mutate", "table": table, "where": _is(uuid), "mutations": mutations})
        return operations

    def _mutations(self, column: str, change: Change) -> list[list[Any]]:
        """What is inserted comes before what is deleted: a set may have to have an element at all times."""
        match change:
            case Keys():
                return _keys(column, change)
            case Members(put=put, remove=remove):
                gone = [self._gone(element) for element in remove]
                parts = (("insert", [self._element(element) for element in put]), ("delete", gone))
                return [[column, verb, ["set", _sorted(elements)]] for verb, elements in parts if elements]
            case _:
                return []

    def _element(self, element: Element) -> Any:
        return element if isinstance(element, str) else list(self._reference(element.key, element.uuid))

    def _gone(self, element: Element) -> Any:
        """One that is no longer to be in a set, which it may have left already."""
        return element if isinstance(element, str) else ["uuid", element.uuid or self._index.find(element.key)]

    def _delete(self, op: Delete) -> list[Operation]:
        uuid = self._index.find(op.key, op.uuid)
        if not uuid:
            return []
        if TABLES[op.key.table].root:
            return [{"op": "delete", "table": op.key.table, "where": _is(uuid)}]
        return self._unhang(op.key.table, uuid)

    def _hang(self, parent: Parent, child: Uuid) -> None:
        kind, name = self._reference(parent.key, parent.uuid)
        if kind == "uuid":
            self._guards.setdefault((parent.key.table, name), {})
        self._children[parent.key.table, name, parent.column]["insert"].append(child)

    def _leave(self, group: Parent, member: Uuid) -> None:
        found = self._index.find(group.key, group.uuid)
        if found and found not in self._deleted:
            self._children[group.key.table, found, group.column]["delete"].append(member)

    def _unhang(self, table: str, uuid: str) -> list[Operation]:
        """Take a row from what lists it. OVSDB drops a row of these tables that nothing lists."""
        parent = self._index.parent(uuid)
        if parent is None:
            return [_take_from_anybody(holder, column, uuid) for holder, column in _holders(table)]
        if parent[1] not in self._deleted:
            self._children[parent]["delete"].append(["uuid", uuid])
        return []

    def _mutate(self, table: str, name: str, column: str, children: Mapping[str, list[Uuid]]) -> Operation:
        where = ["named-uuid", name] if name in self._inserted.values() else ["uuid", name]
        mutations = [[column, mutator, ["set", rows]] for mutator, rows in sorted(children.items())]
        return {"op": "mutate", "table": table, "where": [["_uuid", "==", where]], "mutations": mutations}

    def _values(self, key: Key, columns: Mapping[str, Change]) -> dict[str, Any]:
        available = self._available.get(key.table, frozenset())
        return {column: self._json(value) for column, value in columns.items() if column in available}

    def _json(self, value: Change) -> Any:
        match value:
            case Ref():
                return list(self._reference(value.key, value.uuid))
            case None:
                return ["set", []]
            case frozenset():
                return ["set", _sorted(map(self._element, value))]
            case Mapping():
                return _map(value)
            case _:
                return value

    def _reference(self, key: Key, uuid: str) -> tuple[str, str]:
        if key in self._inserted:
            return "named-uuid", self._inserted[key]
        return "uuid", self._present(key, uuid)

    def _present(self, key: Key, uuid: str) -> str:
        found = self._index.find(key, uuid)
        if not found or found in self._deleted:
            raise Stale(f"{key} is not there")
        return found


def _check(key: Key, columns: Mapping[str, Change]) -> None:
    """A column that is not declared would be taken for one that this version of OVN lacks."""
    if undeclared := columns.keys() - TABLES[key.table].columns.keys():
        raise ValueError(f"{key}: columns {sorted(undeclared)} are not declared in virtnet/topology/tables.py")


def _is(uuid: str) -> list[Any]:
    return [["_uuid", "==", ["uuid", uuid]]]


def _wait(table: str, uuid: str, columns: Mapping[str, Any]) -> Operation:
    row = {"_uuid": ["uuid", uuid], **columns}
    return {
        "op": "wait",
        "table": table,
        "timeout": 0,
        "where": _is(uuid),
        "columns": list(row),
        "until": "==",
        "rows": [row],
    }


def _sorted(elements: Iterable[Any]) -> list[Any]:
    """In an order that depends on nothing but the elements, which are strings or references."""
    return sorted(elements, key=str)


def _map(value: Mapping[str, str] | Mapping[str, int]) -> list[Any]:
    return ["map", [[name, text] for name, text in sorted(value.items())]]


def _keys(column: str, keys: Keys) -> list[list[Any]]:
    gone = sorted(keys.remove | keys.put.keys())
    return [[column, "delete", ["set", gone]], *([[column, "insert", _map(keys.put)]] if keys.put else [])]


def _holders(table: str) -> list[tuple[str, str]]:
    """The tables and columns that list rows of a table."""
    return [
        (holder, column)
        for holder, declared in TABLES.items()
        for column, children in declared.children.items()
        if children == table
    ]


def _take_from_anybody(table: str, column: str, uuid: str) -> Operation:
    """For a row of ours that somebody has hung elsewhere: the server looks for the place."""
    return {
        "op": "mutate",
        "table": table,
        "where": [[column, "includes", ["set", [["uuid", uuid]]]]],
        "mutations": [[column, "delete", ["set", [["uuid", uuid]]]]],
    }

"""Values of OVSDB's columns: from JSON (RFC 7047, section 5.1) to plain ones, and what a change makes of them. Pure.

python-ovs has objects of its own for every value, each in a dict: eight times the memory of these, and most of the time
that a large database takes to be read.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any

Columns = Mapping[str, Any]
"""str, int, float, bool or None; dict for a map; frozenset for a set. References are uuids as text."""

_NOTHING: Mapping[str, Any] = {}
_EMPTY: frozenset[Any] = frozenset()


@dataclass(frozen=True, slots=True)
class Delta:
    """How a set of references has changed."""

    added: frozenset[str]
    removed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Column:
    """How one column of a table is read."""

    read: Callable[[Any], Any]
    """A whole value."""
    changed: Callable[[Any, Any], Any]
    """The value after a change, from that before and from the JSON of the change (ovsdb-server(7), "update2")."""
    default: Any
    references: bool
    """Whether it is a set of references, whose changes are told by element."""

    @classmethod
    def of(cls, kind: Any) -> "Column":
        """``kind``: the column's type, as python-ovs has it."""
        if kind.value is not None:
            return cls(_map, _map_changed, _NOTHING, references=False)
        if kind.n_max != 1:
            return cls(_set, _set_changed, _EMPTY, references=kind.key.ref_table_name is not None)
        if kind.n_min == 0:
            return cls(_optional, lambda _, json: _optional(json), None, references=False)
        default = kind.key.type.default
        plain = default if isinstance(default, str | int | float) else str(default)
        return cls(_scalar, lambda _, json: _scalar(json), plain, references=False)


TableColumns = Mapping[str, Column]


def read(table: TableColumns, json: Mapping[str, Any]) -> Columns:
    """A new row. Columns that are not in its JSON have their defaults."""
    row: dict[str, Any] = {}
    sets: dict[Any, Any] = {}
    for name, column in table.items():
        value = column.read(json[name]) if name in json else column.default
        if isinstance(value, frozenset):
            value = sets.setdefault(value, value)  # addresses of a port are its port_security, too
        row[name] = value
    return row


def changed(table: TableColumns, row: Columns, json: Mapping[str, Any]) -> tuple[Columns, Mapping[str, Delta]]:
    """A row after a change, and how its sets of references have changed."""
    after, deltas = dict(row), {}
    for name, change in json.items():
        column = table[name]
        after[name] = column.changed(row[name], change)
        if column.references:
            deltas[name] = Delta(after[name] - row[name], row[name] - after[name])
    return after, deltas


def _atom(json: Any) -> Any:
    if isinstance(json, list):  # ["uuid", "..."], of which every mention is to be one string
        return intern(json[1])
    return json


def _scalar(json: Any) -> Any:
    """Most are names, and the keys of objects that others keep, too."""
    return intern(json) if isinstance(json, str) else _atom(json)


def _members(json: Any) -> Iterable[Any]:
    return map(_atom, json[1]) if isinstance(json, list) and json[0] == "set" else (_atom(json),)


def _set(json: Any) -> frozenset[Any]:
    return frozenset(_members(json)) or _EMPTY


def _set_changed(before: frozenset[Any], json: Any) -> frozenset[Any]:
    return before ^ _set(json)


def _optional(json: Any) -> Any:
    return next(iter(_members(json)), None)


def _map(json: Any) -> Mapping[Any, Any]:
    return {intern(key) if isinstance(key, str) else _atom(key): _atom(value) for key, value in json[1]} or _NOTHING


def _map_changed(before: Mapping[Any, Any], json: Any) -> Mapping[Any, Any]:
    after = dict(before)
    for key, value in _map(json).items():
        if key in after and after[key] == value:
            del after[key]
        else:
            after[key] = value
    return after or _NOTHING

"""A transaction as text: the ovn-nbctl command that would do the same, for logs, people and tests."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from virtnet.topology.names import row_name
from virtnet.topology.rows import Delete, Element, Insert, Key, Keys, Members, Op, Parent, Ref, Update, Value
from virtnet.topology.tables import TABLES

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*|[0-9]+")
_REMOVERS = {"Logical_Switch_Port": "lsp-del", "Logical_Router_Port": "lrp-del"}
"""For rows that a parent lists and that have names: a list takes only uuids."""
_SHELL = re.compile(r"[A-Za-z0-9_./:=@,+-]+")


@dataclass(frozen=True, slots=True)
class Transaction:
    """Operations that happen together or not at all."""

    ops: Sequence[Op]

    def __str__(self) -> str:
        """One ovn-nbctl command, one line for each row; empty for no operations."""
        commands = [" ".join(map(_quoted, words)) for op in self.ops for words in _commands(op)]
        return "ovn-nbctl " + " \\\n  -- ".join(commands) if commands else ""


def _commands(op: Op) -> Iterator[list[str]]:
    match op:
        case Insert(row=row):
            values = [setting for column, value in row.columns.items() for setting in _settings(column, value)]
            yield [f"--id={_symbol(row.key)}", "create", row.key.table, *values]
            yield from _listed("add", _symbol(row.key), row.parent, row.groups)
        case Update():
            yield from _update(op)
        case Delete():
            yield _delete(op)


def _delete(op: Delete) -> list[str]:
    record = _record(op.key, op.uuid)
    if op.key.table in _REMOVERS:
        return ["--if-exists", _REMOVERS[op.key.table], record]
    if op.parent:
        return ["--if-exists", "remove", *_holder(op.parent), op.parent.column, record]
    return ["--if-exists", "destroy", op.key.table, record]


def _update(op: Update) -> Iterator[list[str]]:
    record = [op.key.table, _record(op.key, op.uuid)]
    settings: list[str] = []
    for column, value in op.columns.items():
        if isinstance(value, Members):
            for verb, elements in (("add", value.put), ("remove", value.remove)):
                if elements:
                    yield [verb, *record, column, *sorted(map(_element, elements))]
        elif isinstance(value, Keys):
            if value.remove:
                yield ["remove", *record, column, *map(_atom, sorted(value.remove))]
            settings += _settings(column, value.put)
        elif words := list(_settings(column, value)):
            settings += words
        else:
            yield ["clear", *record, column]
    if settings:
        yield ["set", *record, *settings]
    yield from _listed("add", op.uuid or _symbol(op.key), op.parent, op.join)
    yield from _listed("remove", op.uuid or _symbol(op.key), None, op.leave)


def _settings(column: str, value: Value) -> Iterator[str]:
    """What comes after the record in ``set`` and ``create``; nothing for an empty value."""
    match value:
        case Mapping():
            yield from (f"{column}:{_atom(name)}={_atom(str(text))}" for name, text in sorted(value.items()))
        case frozenset():
            if value:
                yield f"{column}=" + ",".join(sorted(map(_element, value)))
        case Ref():
            yield f"{column}={_element(value)}"
        case bool():
            yield f"{column}={str(value).lower()}"
        case int():
            yield f"{column}={value}"
        case str() if value:
            yield f"{column}={_atom(value)}"


def _element(element: Element) -> str:
    return _atom(element) if isinstance(element, str) else element.uuid or _symbol(element.key)


def _listed(verb: str, record: str, parent: Parent | None, groups: frozenset[Parent]) -> Iterator[list[str]]:
    places = sorted(groups, key=lambda group: (group.key, group.column))
    yield from ([verb, *_holder(place), place.column, record] for place in (*filter(None, [parent]), *places))


def _holder(parent: Parent) -> tuple[str, str]:
    return parent.key.table, _record(parent.key, parent.uuid)


def _record(key: Key, uuid: str) -> str:
    """What ovn-nbctl finds a row by: its name, for people, if rows of its table have one.

    Of twins it cannot tell which is meant; the operation can.
    """
    if "name" not in TABLES[key.table].columns:
        return uuid or _symbol(key)
    # A NIC's port is the one row that is not named after its key's id.
    return key.object if (key.table, key.kind) == ("Logical_Switch_Port", "Port") else row_name(key)


def _symbol(key: Key) -> str:
    """The name of a row that has no uuid yet."""
    return "@" + re.sub(r"[^A-Za-z0-9]+", "_", f"{key.table}_{key.id}")


def _atom(text: str) -> str:
    return text if _BARE.fullmatch(text) and text not in ("true", "false") else json.dumps(text)


def _quoted(argument: str) -> str:
    """For a shell."""
    return argument if _SHELL.fullmatch(argument) else "'" + argument.replace("'", "'\\''") + "'"

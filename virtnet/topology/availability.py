"""What of rows an OVN has no place for: tables and columns came with its versions. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from virtnet.topology.rows import Key, Ref, Row, Value

Available = Mapping[str, frozenset[str]]
"""Columns by table, as far as an OVN has them."""


@dataclass(frozen=True)
class Fitted:
    """Rows as far as an OVN has a place for them."""

    rows: list[Row]
    lacks: Mapping[Key, tuple[str, ...]]
    """What is missing for a row: tables, as ``QoS``, and columns, as ``ACL.tier``. For a condition of its object."""


def fitted(rows: Iterable[Row], available: Available) -> Fitted:
    """The rows without what this OVN lacks. A row whose table it lacks is left out, with what hangs on it.

    A column that says nothing is not missed.
    """
    kept: list[Row] = []
    lacks: dict[Key, tuple[str, ...]] = {}
    for row in rows:
        missing = tuple(sorted(set(_missing(row, available))))
        if missing:
            lacks[row.key] = missing
        if row.key.table in available and (
            row.parent is None or _has(available, row.parent.key.table, row.parent.column)
        ):
            groups = frozenset(group for group in row.groups if _has(available, group.key.table, group.column))
            kept.append(replace(row, columns=dict(_columns(row, available)), groups=groups))
    return Fitted(kept, lacks)


def _missing(row: Row, available: Available) -> Iterator[str]:
    table = row.key.table
    if table not in available:
        yield table
        return
    for place in (*filter(None, [row.parent]), *row.groups):
        if not _has(available, place.key.table, place.column):
            yield f"{place.key.table}.{place.column}"
    for column, value in row.columns.items():
        if value in (None, "", frozenset(), {}):
            continue
        if not _has(available, table, column):
            yield f"{table}.{column}"
        yield from (ref.key.table for ref in _refs(value) if ref.key.table not in available)


def _columns(row: Row, available: Available) -> Iterator[tuple[str, Value]]:
    for column, value in row.columns.items():
        if not _has(available, row.key.table, column):
            continue
        if isinstance(value, Ref) and value.key.table not in available:
            yield column, None
        elif isinstance(value, frozenset):
            yield column, frozenset(one for one in value if isinstance(one, str) or one.key.table in available)
        else:
            yield column, value


def _refs(value: Value) -> Iterator[Ref]:
    elements = value if isinstance(value, frozenset) else (value,)
    yield from (one for one in elements if isinstance(one, Ref))


def _has(available: Available, table: str, column: str) -> bool:
    return column in available.get(table, frozenset())

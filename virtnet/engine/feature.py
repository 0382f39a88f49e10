"""A kind, registered: everything that the processes need to know of it to serve it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from virtnet.api import Resource
from virtnet.engine.collection import Collection
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import ConditionState, Outcome, Report
from virtnet.topology.rows import Parent, Row, Value
from virtnet.topology.tables import TABLES


class Invalid(Exception):  # noqa: N818 - says what the object is
    """An object that may not be written: what is wrong, where, and what to do. ``code`` is an HTTP status."""

    def __init__(self, message: str, *, code: int = 422) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Extension:
    """What a kind adds to the objects of another. Its functions are pure, and given that object."""

    model: type[Resource]
    """The other kind."""
    conditions: Callable[[Any, Reader], Sequence[ConditionState]]
    rows: Callable[[Any, Reader], Sequence[Row]] = lambda *_: ()
    """They are written and go with the object's own, which come first; their keys are ``topology.names.added``."""
    groups: Callable[[Any, Reader], Iterable[Parent]] | None = None
    """The groups that the object's own row is in."""
    columns: Callable[[Any, Reader], Mapping[str, Value]] | None = None
    """What it says in columns of the object's own row that nobody else sets."""
    check: Callable[[Any, Any | None, Reader], Sequence[str]] | None = None
    """As a Feature's, after the object's own, for a kind that has one."""
    check_reads: tuple[Collection[Any], ...] = ()


@dataclass(frozen=True)
class Feature:
    """One kind. Its functions are pure; what they read they ask a Reader for."""

    model: type[Resource]
    collection: Collection[Any]
    compile: Callable[[ObjectKey, Reader], Outcome] | None = None
    """Its rows. Also called where the object is gone, and OVN still has rows of it."""
    report: Callable[[ObjectKey, Reader], Report | None] | None = None
    """What people see of it; None where there is nothing to say, or no such object."""
    check: Callable[[Any, Any | None, Reader], Sequence[str]] | None = None
    """Whether a new object, or a change from an old one, may be written: warnings; raises Invalid."""
    check_vm: Callable[[Any, Any | None, Reader], Sequence[str]] | None = None
    """The same of VirtualMachines (``features.workloads.Vm``), which may name objects of this kind."""
    check_reads: tuple[Collection[Any], ...] = ()
    """What checks ask for beside their own kind: admission watches these, and nothing else."""
    in_use: Callable[[Any, Reader], str] | None = None
    """Who uses it, for people; empty for nobody. While somebody does, its deletion waits."""
    defaults: tuple[Resource, ...] = field(default=())
    """Objects that exist always: made where they are missing, and not to be deleted."""
    extensions: tuple[Extension, ...] = ()
    """What it adds to the objects of other kinds."""

    @property
    def kind(self) -> str:
        return self.model.__name__


@dataclass(frozen=True)
class ForeignFeature:
    """A kind of others that OVN has rows of: it is read, and nothing is written to its objects."""

    collection: Collection[Any]
    compile: Callable[[ObjectKey, Reader], Outcome]
    """Its rows. Also called where the object is gone, and OVN still has rows of it."""
    extensions: tuple[Extension, ...] = ()

    @property
    def kind(self) -> str:
        return self.collection.kind


def extended(*features: Feature, foreign: Iterable[ForeignFeature] = ()) -> tuple[Feature, ...]:
    """The features, each with what others add to its objects."""
    registered: tuple[ForeignFeature | Feature, ...] = (*foreign, *features)
    every = [one for feature in registered for one in feature.extensions]
    return tuple(_extended(feature, [one for one in every if one.model is feature.model]) for feature in features)


def _extended(feature: Feature, added: Sequence[Extension]) -> Feature:
    if added and feature.compile:
        feature = replace(feature, compile=partial(_compile, feature.collection, feature.compile, added))
    if added and feature.report:
        feature = replace(feature, report=partial(_report, feature.collection, feature.report, added))
    checks = tuple(one.check for one in added if one.check)
    if checks and feature.check:
        reads = {*feature.check_reads, *(collection for one in added for collection in one.check_reads)}
        feature = replace(feature, check=partial(_check, (feature.check, *checks)), check_reads=tuple(reads))
    return feature


def _check(
    checks: Sequence[Callable[[Any, Any | None, Reader], Sequence[str]]], new: Any, old: Any | None, reader: Reader
) -> Sequence[str]:
    return [warning for check in checks for warning in check(new, old, reader)]


def _compile(
    collection: Collection[Any],
    compute: Callable[[ObjectKey, Reader], Outcome],
    added: Sequence[Extension],
    key: ObjectKey,
    reader: Reader,
) -> Outcome:
    """The outcome with all rows; where the object has none, or keeps what OVN has, nothing is added."""
    outcome, value = compute(key, reader), reader.get(collection, key)
    if not outcome.rows or value is None:
        return outcome
    groups = frozenset(group for one in added if one.groups for group in one.groups(value, reader))
    columns = {name: said for one in added if one.columns for name, said in one.columns(value, reader).items()}
    rows = tuple(_with(row, columns, groups) if row.key.id == str(key) else row for row in outcome.rows)
    return replace(outcome, rows=(*rows, *(row for one in added for row in one.rows(value, reader))))


def _with(row: Row, columns: Mapping[str, Value], groups: frozenset[Parent]) -> Row:
    """The row with those of the columns that its table has, in those of the groups that rows of its table may be in."""
    table = row.key.table
    of_table = frozenset(group for group in groups if TABLES[group.key.table].members[group.column] == table)
    more = {name: said for name, said in columns.items() if name in TABLES[table].columns}
    return replace(row, columns={**row.columns, **more}, groups=row.groups | of_table) if of_table or more else row


def _report(
    collection: Collection[Any],
    compute: Callable[[ObjectKey, Reader], Report | None],
    added: Sequence[Extension],
    key: ObjectKey,
    reader: Reader,
) -> Report | None:
    report, value = compute(key, reader), reader.get(collection, key)
    if report is None or value is None:
        return report
    more = (state for one in added for state in one.conditions(value, reader))
    return replace(report, conditions=(*report.conditions, *more))

"""A northbound database in memory: the same promises as the real one, for tests of what is built on it.

Both pass the same test-suite. Assert on what a database holds (``dump``), not on the calls that were made.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count

from virtnet.ovn.errors import Fenced, OvnError, OvnUnavailable, Stale
from virtnet.ovn.northbound import RowsChanged
from virtnet.topology.apply import MismatchError, apply
from virtnet.topology.ownership import owned
from virtnet.topology.rows import Insert, Key, Op, Ref, Row, Value
from virtnet.topology.tables import RANK, TABLES, ColumnType
from virtnet.topology.transaction import Transaction

_EMPTY: dict[ColumnType, Value] = {
    ColumnType.TEXT: "",
    ColumnType.OPTIONAL: None,
    ColumnType.SET: frozenset(),
    ColumnType.MAP: {},
    ColumnType.REF: None,
    ColumnType.REFS: frozenset(),
}


class FakeDatabase:
    """What several clients share: rows of everybody, and one lock."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.clients: list[FakeNorthbound] = []
        self.definitions: dict[str, str] = {}
        self._uuids = (f"00000000-0000-0000-0000-{number:012x}" for number in count(1))

    def put(self, row: Row) -> str:
        """Write a row as somebody else would, over the one of its uuid, if any; returns its uuid.

        A foreign row needs a key that no row of ours has.
        """
        row = row if row.uuid else replace(row, uuid=next(self._uuids))
        self._become([*(other for uuid, other in self.rows.items() if uuid != row.uuid), row])
        return row.uuid

    def remove(self, uuid: str) -> None:
        """Delete a row as somebody else would, with what hangs on it."""
        self._become(apply([], [row for row in self.rows.values() if row.uuid != uuid]))

    def erase(self) -> None:
        """Lose the whole database."""
        self._become([])

    def apply(self, ops: Sequence[Op]) -> None:
        """Raises MismatchError, and then nothing has happened."""
        self._become(apply(ops, self.rows.values(), self._uuids))

    def _become(self, rows: Iterable[Row]) -> None:
        before, self.rows = self.rows, {row.uuid: _complete(row) for row in rows}
        uuids = before.keys() | self.rows.keys()
        different = [(before.get(uuid), self.rows.get(uuid)) for uuid in uuids]
        concerned = frozenset(
            row.key for old, new in different if old != new for row in (old, new) if row is not None and _is_ours(row)
        )
        for client in self.clients:
            client.tell(concerned)


class FakeNorthbound:
    """A client. The first of a database has the lock until it is closed, then the next has it."""

    def __init__(self, database: FakeDatabase | None = None) -> None:
        self.database = database or FakeDatabase()
        self.database.clients.append(self)
        self.connected = True
        """Set it to False to lose the connection; ``reconnect`` brings it back."""
        self.last = Transaction(())
        """What was committed last."""
        self._failures: list[OvnError] = []
        self._callbacks: list[RowsChanged] = []

    @property
    def locked(self) -> bool:
        return self.database.clients[:1] == [self]

    def observed(self, keys: Iterable[Key] | None = None) -> list[Row]:
        wanted = None if keys is None else set(keys)
        return [row for row in self.database.rows.values() if (wanted is None or row.key in wanted) and _is_ours(row)]

    @property
    def keys(self) -> frozenset[Key]:
        return frozenset(row.key for row in self.observed())

    def of(self, origin: str) -> list[Row]:
        return [row for row in self.observed() if row.key.origin == origin]

    @property
    def available(self) -> Mapping[str, frozenset[str]]:
        """All of them."""
        return {name: frozenset((*table.columns, *table.listing)) for name, table in TABLES.items()}

    async def commit(self, ops: Sequence[Op]) -> None:
        if self.connected and not self.locked:
            raise Fenced("the lock is another's: somebody else leads")
        if not ops:
            return
        if self._failures:
            raise self._failures.pop(0)
        if not self.connected:
            raise OvnUnavailable("the connection was lost")
        try:
            self.database.apply(ops)
        except MismatchError as error:
            raise Stale(str(error)) from error
        self.last = Transaction(tuple(ops))

    @property
    def definitions(self) -> Mapping[str, str]:
        return self.database.definitions

    async def record_definitions(self, definitions: Mapping[str, str]) -> None:
        await self.commit([])
        if not self.connected:
            raise OvnUnavailable("the connection was lost")
        self.database.definitions |= definitions

    async def wait_for_lock(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - as the real one has it
        """Whether it is ours now: there is nothing to wait for."""
        return self.locked

    async def steal_lock(self) -> None:
        """Go to the head of the queue."""
        self.database.clients.remove(self)
        self.database.clients.insert(0, self)

    def on_change(self, callback: RowsChanged) -> None:
        self._callbacks.append(callback)

    def fail(self, *errors: OvnError) -> None:
        """Raise these at the next commits, one each, instead of doing them."""
        self._failures.extend(errors)

    def reconnect(self) -> None:
        self.connected = True
        self.tell(frozenset(row.key for row in self.observed()))

    def tell(self, keys: frozenset[Key]) -> None:
        for callback in self._callbacks if keys and self.connected else ():
            callback(keys)

    async def close(self) -> None:
        """Disconnect, which also gives the lock up."""
        self.connected = False
        self.database.clients.remove(self)

    def dump(self) -> str:
        """All rows of ours in the order of their keys, as the ovn-nbctl command that would make them."""
        rows = sorted(self.observed(), key=lambda row: (RANK[row.key.table], row.key.id, row.uuid))
        return str(Transaction([Insert(_without_uuids(row)) for row in rows]))


def _is_ours(row: Row) -> bool:
    return owned(row.key.table, row.columns) is not None


def _complete(row: Row) -> Row:
    """A row as a database shows it: with every column."""
    empty = {column: _EMPTY[kind] for column, kind in TABLES[row.key.table].columns.items()}
    return replace(row, columns={**empty, **row.columns})


def _without_uuids(row: Row) -> Row:
    columns = {column: _without_uuid(value) for column, value in row.columns.items()}
    groups = frozenset(replace(group, uuid="") for group in row.groups)
    return Row(row.key, columns, replace(row.parent, uuid="") if row.parent else None, groups=groups)


def _without_uuid(value: Value) -> Value:
    if isinstance(value, frozenset):
        return frozenset(Ref(one.key) if isinstance(one, Ref) else one for one in value)
    return Ref(value.key) if isinstance(value, Ref) else value

"""The replica that python-ovs keeps, told on as plain values.

Everything here runs in the connection's thread. It reads the library's private ``Row._data``: its public attributes
copy and sort whole sets for each access, which for a switch of 10,000 ports is the difference between 1 and 100 ms.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any

from ovs.db.idl import ROW_CREATE, ROW_DELETE
from ovsdbapp.backend.ovs_idl.connection import OvsdbIdl

Columns = Mapping[str, Any]
"""str, int, float, bool or None; dict for a map; frozenset for a set. References are uuids as text."""

PROBE_MS = 5000
LAST_BACKOFF_MS = 2000


@dataclass(frozen=True, slots=True)
class Delta:
    """How a set of references has changed."""

    added: frozenset[str]
    removed: frozenset[str]


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row that came, changed or went."""

    table: str
    uuid: str
    columns: Columns | None
    """All columns of a new row; those that changed of another, with a Delta for each set of references; None: gone."""
    new: bool = False


@dataclass(frozen=True, slots=True)
class Dump:
    """All there is, after a connection was made: what was known before counts no more."""

    rows: Mapping[str, Mapping[str, Columns]]
    """By table and uuid."""


@dataclass(frozen=True, slots=True)
class Link:
    """Whether the replica is in step with a server, and whether the lock is ours."""

    up: bool
    locked: bool


Report = Dump | Link | list[RowChange]


class Replica(OvsdbIdl):  # type: ignore[misc]  # ovsdbapp has no types
    """ovsdbapp's IDL with reports instead of row events.

    Row events say nothing of rows that were replaced by a whole new dump (the library clears them silently), so a dump
    is reported as one.
    """

    def __init__(self, remote: str, helper: Any, report: Callable[[Report], None], *, leader_only: bool) -> None:
        super().__init__(remote, helper, probe_interval=PROBE_MS, leader_only=leader_only)
        self._session.reconnect.set_backoff(1000, LAST_BACKOFF_MS)
        self._tell = report
        self._pending: list[RowChange] = []
        self._link = Link(up=False, locked=False)
        self._cluster: Any = None

    @property
    def in_step(self) -> bool:
        return bool(self.state == self.IDL_S_MONITORING and self._session.is_connected())

    def steal_lock(self) -> None:
        """Take the lock from whoever has it (RFC 7047, section 4.1.9); the library only knows how to queue for it.

        The server takes no second request before the first is given up.
        """
        if not self.has_lock:
            self._Idl__do_send_lock_request("unlock")
            self._lock_request_id = self._Idl__do_send_lock_request("steal")

    def run(self) -> bool:
        before = self.state
        changed = bool(super().run())
        if before != self.state == self.IDL_S_MONITORING:
            # A run leaves the monitoring state as the last thing it does, so a dump cannot be missed here.
            self._pending = []
            self._tell(Dump({name: self._rows(table) for name, table in self.tables.items()}))
        if self._pending:
            changes, self._pending = self._pending, []
            self._tell(changes)
        self._tell_link()
        self._forget_replaced_cluster()
        return changed

    def cooperative_yield(self) -> None:
        """Nothing: the interpreter switches threads by itself; asking for it at each row takes a second for 10,000."""

    def notify(self, event: str, row: Any, updates: Any = None) -> None:
        if self.state != self.IDL_S_MONITORING:
            return  # part of a dump
        table, uuid = row._table.name, str(row.uuid)  # noqa: SLF001 - see above
        if event == ROW_DELETE:
            change = RowChange(table, uuid, None)
        elif event == ROW_CREATE:
            change = RowChange(table, uuid, _columns(row), new=True)
        else:
            change = RowChange(table, uuid, _changed(row, updates))
        self._pending.append(change)

    def _rows(self, table: Any) -> dict[str, Columns]:
        return {str(uuid): _columns(row) for uuid, row in table.rows.items()}

    def _tell_link(self) -> None:
        up = self.in_step
        link = Link(up=up, locked=up and self.has_lock)
        if link != self._link:
            self._link = link
            self._tell(link)

    def _forget_replaced_cluster(self) -> None:
        """A raft cluster that was made anew counts from zero; the library would call it stale for ever."""
        if self.in_step or not self.server_tables:
            return
        for row in self.server_tables["Database"].rows.values():
            if row.name == self._db.name and row.cid and row.cid != self._cluster:
                if self._cluster is not None:
                    self._min_index = 0
                self._cluster = row.cid


def _columns(row: Any) -> Columns:
    return {column: _plain(row._data[column]) for column in row._table.columns}  # noqa: SLF001


def _plain(datum: Any) -> Any:
    kind = datum.type
    if kind.value is not None:
        return {intern(key.value): value.value for key, value in datum.values.items()}
    values = [_atom(atom) for atom in datum.values]
    if kind.n_max == 1:
        return values[0] if values else None
    return frozenset(values)


def _atom(atom: Any) -> Any:
    value = atom.value
    return value if isinstance(value, str | int | float) else str(value)


def _changed(row: Any, updates: Any) -> Columns:
    changed = {}
    for column, old in updates._data.items():  # noqa: SLF001
        new = row._data[column]  # noqa: SLF001
        references = new.type.n_max != 1 and new.type.key.ref_table_name is not None
        changed[column] = _delta(old.values, new.values) if references else _plain(new)
    return changed


def _delta(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> Delta:
    """The difference of two sets of atoms. Atoms that stayed are the same objects, which is quick to see."""
    old_ids, new_ids = set(map(id, old)), set(map(id, new))
    added = frozenset(str(atom.value) for atom in new if id(atom) not in old_ids)
    removed = frozenset(str(atom.value) for atom in old if id(atom) not in new_ids)
    return Delta(added - removed, removed - added)

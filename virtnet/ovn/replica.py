"""The replica of a database: python-ovs keeps the connection, and its rows are plain values of our own.

Everything here runs in the connection's thread. It stands in for the library's private ``__do_parse_update``, which
would make several objects of each value: of 50,000 ports, a third of a gigabyte.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import Any

import structlog
from ovsdbapp.backend.ovs_idl.connection import OvsdbIdl

from virtnet.ovn.columns import Column, Columns, Delta, changed, read

log = structlog.get_logger()

PROBE_MS = 5000
LAST_BACKOFF_MS = 2000

NO_TRANSACTION = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row that came, changed or went."""

    table: str
    uuid: str
    columns: Columns | None
    """All columns, as they are now; None: it is gone."""
    deltas: Mapping[str, Delta] = field(default_factory=dict)
    """How its sets of references have changed, where it was there before."""
    new: bool = False


@dataclass(frozen=True, slots=True)
class Dump:
    """All there is, after a connection was made: what was known before counts no more."""

    rows: Mapping[str, Mapping[str, Columns]]
    """By table and uuid."""


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """Whether the replica is in step with a server, and whether the lock is ours."""

    up: bool
    locked: bool


ReplicaReport = Dump | ReplicaState | list[RowChange]


class Replica(OvsdbIdl):  # type: ignore[misc]  # ovsdbapp has no types
    """ovsdbapp's IDL with reports instead of row events, and without rows of its own.

    Row events say nothing of rows that were replaced by a whole new dump (the library clears them silently), so a dump
    is reported as one.
    """

    def __init__(self, remote: str, helper: Any, report: Callable[[ReplicaReport], None], *, leader_only: bool) -> None:
        super().__init__(remote, helper, probe_interval=PROBE_MS, leader_only=leader_only)
        self._session.reconnect.set_backoff(1000, LAST_BACKOFF_MS)
        self._tell = report
        self._columns = {
            name: {column.name: Column.of(column.type) for column in table.columns.values()}
            for name, table in self.tables.items()
        }
        self._rows: dict[str, dict[str, Columns]] = {}
        self._pending: list[RowChange] = []
        self._link = ReplicaState(up=False, locked=False)
        self._cluster: Any = None

    @property
    def last_id(self) -> str:
        """The last transaction that is known: none. Every connection begins with a dump, which replaces everything."""
        return NO_TRANSACTION

    @last_id.setter
    def last_id(self, _: str) -> None:
        """The library notes it."""

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
            self._tell(Dump({name: dict(rows) for name, rows in self._rows.items()}))
        if self._pending:
            changes, self._pending = self._pending, []
            self._tell(changes)
        self._tell_link()
        self._forget_replaced_cluster()
        return changed

    def _Idl__do_parse_update(self, updates: Any, version: str, tables: Any) -> None:  # noqa: N802 - the library's
        """Take rows as the server tells them: all of them on the way to being in step, then what changes."""
        if tables is self.server_tables:
            super()._Idl__do_parse_update(updates, version, tables)
            return
        if self.state != self.IDL_S_MONITORING:
            self._rows = {name: {} for name in self._columns}
        try:
            for table, rows in updates.items():
                for uuid, update in rows.items():
                    self._update(table, intern(uuid), update)
        except (AttributeError, KeyError, TypeError) as error:  # what is not understood is asked for as a whole
            log.warning("change of unknown form", database=self._db.name, error=repr(error))
            self.force_reconnect()

    def _update(self, table: str, uuid: str, update: Mapping[str, Any]) -> None:
        """Take one row's ``<row-update2>`` (ovsdb-server(7))."""
        rows, columns = self._rows[table], self._columns[table]
        if "modify" in update:
            rows[uuid], deltas = changed(columns, rows[uuid], update["modify"])
            change = RowChange(table, uuid, rows[uuid], deltas)
        elif "delete" in update:
            del rows[uuid]
            change = RowChange(table, uuid, None)
        else:
            rows[uuid] = read(columns, update["initial"] if "initial" in update else update["insert"])
            change = RowChange(table, uuid, rows[uuid], new=True)
        if self.state == self.IDL_S_MONITORING:
            self._pending.append(change)

    def _tell_link(self) -> None:
        up = self.in_step
        link = ReplicaState(up=up, locked=up and self.has_lock)
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

"""OVN's northbound database: rows of ours as they are, and one fenced way to change them."""

import asyncio
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Protocol, Self

import structlog

from virtnet.ovn.columns import Columns
from virtnet.ovn.connection import CONNECT_TIMEOUT, Connection
from virtnet.ovn.errors import Fenced, OvnError, OvnRejected, OvnUnavailable, Stale
from virtnet.ovn.index import RowIndex
from virtnet.ovn.operations import encode
from virtnet.ovn.replica import Dump, RowChange
from virtnet.topology.ownership import OWNER, OWNER_VALUE
from virtnet.topology.rows import Key, Op, Row
from virtnet.topology.tables import PREFIX, TABLES
from virtnet.topology.transaction import Transaction

__all__ = ["Fenced", "Northbound", "OvnError", "OvnRejected", "OvnUnavailable", "OvsdbNorthbound", "Stale"]

log = structlog.get_logger()

RowsChanged = Callable[[frozenset[Key]], None]

LOCK_PATIENCE = 1.0
"""How long a write waits for the lock: after a reconnect the server may have to notice first that our last
connection is dead."""

GLOBAL = "NB_Global"
DEFINITION = f"{PREFIX}definition-"
"""Its external_ids that begin so say by which definitions of their kinds our rows were last written."""

OURS = [["external_ids", "includes", ["map", [[OWNER, OWNER_VALUE]]]]]
"""Only rows of ours are replicated, so that a database shared with others costs no more than our part of it."""


class Northbound(Protocol):
    """What the controller needs of it. Used from one event loop, which is also where callbacks are called."""

    def observed(self, keys: Iterable[Key] | None = None) -> list[Row]:
        """The rows of these keys, or all rows of ours, as the database has them. In memory and by index.

        Where the database has several rows of one key, these are several.
        """
        ...

    @property
    def keys(self) -> frozenset[Key]:
        """Of all rows of ours."""
        ...

    def of(self, origin: str) -> list[Row]:
        """The rows that were compiled from one API object, named as ``Key.origin`` names it: ``Port/demo/db.blue``."""
        ...

    @property
    def available(self) -> Mapping[str, frozenset[str]]:
        """The columns of TABLES that this OVN has, by table; for ``topology.availability``."""
        ...

    async def commit(self, ops: Sequence[Op]) -> None:
        """Do the operations in one transaction, or nothing; when it returns, ``observed`` shows what was done.

        Raises Fenced, Stale, OvnRejected or OvnUnavailable; see there for what the caller has to do. Of no operations
        at all only Fenced: so that who finds nothing to write here knows whether others may be told what was decided.
        """
        ...

    @property
    def definitions(self) -> Mapping[str, str]:
        """Kind -> UID of the definition (CRD) by which its rows were last written, as ``record_definitions`` said."""
        ...

    async def record_definitions(self, definitions: Mapping[str, str]) -> None:
        """Note the definitions of these kinds. Raises as ``commit`` does."""
        ...

    def on_change(self, callback: RowsChanged) -> None:
        """Call back with keys of rows that have changed, come or gone, whoever did it.

        After a lost connection, or when the whole database was replaced, these are all keys that were or are there;
        none, if none were. A callback must not block.
        """
        ...


class OvsdbNorthbound:
    """The real one. ``async with OvsdbNorthbound(remote) as northbound``, or ``open`` and ``close``.

    ``remote`` is one or several of ``tcp:``, ``ssl:`` and ``unix:``, with commas between; of a cluster, its leader is
    found. Take the lock (connect) only while leading: after a restart of the server it goes to whoever comes first.
    """

    def __init__(self, remote: str, lock: str = "virtnet", kinds: Container[str] | None = None) -> None:
        """``kinds``: that rows are compiled by (None: all); rows of others are not seen, and so never go."""
        self._remote = remote
        self._lock = lock
        self._kinds = kinds
        self._index = RowIndex(kinds)
        self._callbacks: list[RowsChanged] = []
        self._turn = asyncio.Lock()
        self._global: Columns = {}

    async def open(self, timeout: float = CONNECT_TIMEOUT) -> None:  # noqa: ASYNC109 - passed on
        """Connect and read the rows. Raises OvnUnavailable. From here on it reconnects by itself."""
        wanted = {name: (*table.columns, *table.listing) for name, table in TABLES.items()}
        self._connection = await Connection.open(
            self._remote,
            "OVN_Northbound",
            {**wanted, GLOBAL: ("external_ids",)},
            self._report,
            lock=self._lock,
            conditions={name: OURS for name, table in TABLES.items() if not table.by_name},
            timeout=timeout,
        )

    async def close(self) -> None:
        """Disconnect, which also gives the lock up."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def connected(self) -> bool:
        return self._connection.up

    @property
    def obstacle(self) -> str:
        """That it is not connected, with what TLS has to say about it."""
        return self._connection.obstacle

    @property
    def locked(self) -> bool:
        """Whether this client is the one that may write."""
        return self._connection.locked

    async def wait_for_lock(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - None waits for ever
        """Wait to become the one that may write. A new leader does, since the old one may take a while to die."""
        return await self._connection.wait_for_lock(timeout)

    async def steal_lock(self) -> None:
        """Become the one that may write, and fence whoever was. For a leader that was elected elsewhere.

        A frozen process keeps its lock for as long as its connection lives, which on a unix socket is for ever.
        """
        await self._connection.steal_lock()
        await self.wait_for_lock()

    def observed(self, keys: Iterable[Key] | None = None) -> list[Row]:
        return self._index.rows(keys)

    @property
    def keys(self) -> frozenset[Key]:
        return self._index.keys

    @property
    def available(self) -> Mapping[str, frozenset[str]]:
        return self._connection.columns

    def of(self, origin: str) -> list[Row]:
        return self._index.of_origin(origin)

    async def commit(self, ops: Sequence[Op]) -> None:
        async with self._turn:
            await self._require_lock()
            if not ops:
                return
            operations = encode(ops, self._index, self._connection.columns)
            log.debug("committing", remote=self._remote, ops=len(ops), text=_Text(ops))
            await self._connection.transact(operations)

    async def _require_lock(self) -> None:
        if self._lock and self._connection.up and not await self.wait_for_lock(LOCK_PATIENCE):
            raise Fenced(f"the lock {self._lock} of {self._remote} is another's: somebody else leads")

    @property
    def definitions(self) -> Mapping[str, str]:
        ids = self._global.get("external_ids") or {}
        return {name.removeprefix(DEFINITION): uid for name, uid in ids.items() if name.startswith(DEFINITION)}

    async def record_definitions(self, definitions: Mapping[str, str]) -> None:
        ids = [[f"{DEFINITION}{kind}", uid] for kind, uid in sorted(definitions.items())]
        mutations = [
            ["external_ids", "delete", ["set", [name for name, _ in ids]]],
            ["external_ids", "insert", ["map", ids]],
        ]
        async with self._turn:
            await self._require_lock()
            await self._connection.transact([{"op": "mutate", "table": GLOBAL, "where": [], "mutations": mutations}])

    def on_change(self, callback: RowsChanged) -> None:
        self._callbacks.append(callback)

    def _report(self, report: Dump | list[RowChange]) -> None:
        if isinstance(report, Dump):
            before = self._index.keys
            rows = {table: found for table, found in report.rows.items() if table != GLOBAL}
            self._global = next(iter(report.rows.get(GLOBAL, {}).values()), {})
            self._index = RowIndex.of(Dump(rows), self._kinds)
            self._tell(before | self._index.keys)
            return
        for change in report:
            if change.table == GLOBAL:
                self._global = change.columns or {}
        if keys := self._index.apply([change for change in report if change.table != GLOBAL]):
            self._tell(keys)

    def _tell(self, keys: frozenset[Key]) -> None:
        for callback in self._callbacks:
            callback(keys)


class _Text:
    """The transaction's text, made only when a log line is really written, and not for thousands of rows."""

    LONGEST = 50

    def __init__(self, ops: Sequence[Op]) -> None:
        self._ops = ops

    def __repr__(self) -> str:
        more = len(self._ops) - self.LONGEST
        return str(Transaction(self._ops[: self.LONGEST])) + (f" and {more} more operations" if more > 0 else "")

"""A connection to an OVSDB server, for one event loop: the one place that drives ovsdbapp.

Underneath is ovsdbapp's Connection, a thread that runs the IDL and takes transactions from a queue. What it would do
to its users, and what is done about it here:

- Its API objects share one connection for each class. None is made: a Connection here owns its thread and replica.
- Errors are silent unless asked for, and bad column values are dropped with a log line. Operations go to the server
  as raw OVSDB operations (RFC 7047, section 5.2), and every answer becomes a return or an exception.
- A refused transaction is tried again with the same operations. Here it is tried once: what was decided from rows
  that have changed must be decided again.
- A caller that times out leaves its transaction in the queue, to be done later unnoticed. Here one that nobody waits
  for is not begun, and one that the server does not answer in time costs the connection. The server may still do what
  it has received; then the changes are reported as everybody's are, after the Dump of the next connection.
- Row events come in a thread of their own, and not at all for rows lost to a reconnect. See replica.py.
"""

import asyncio
import contextlib
import queue
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import structlog
from ovs import poller
from ovs.db import idl
from ovsdbapp import exceptions
from ovsdbapp.backend.ovs_idl import connection as ovsdbapp_connection
from ovsdbapp.backend.ovs_idl import vlog

from virtnet.ovn import fastjson, schema, tls
from virtnet.ovn.errors import Fenced, OvnError, OvnRejected, OvnUnavailable, Stale
from virtnet.ovn.operations import Operation
from virtnet.ovn.replica import Dump, Replica, ReplicaReport, ReplicaState, RowChange

__all__ = ["Connection", "Dump", "RowChange"]

log = structlog.get_logger()

CONNECT_TIMEOUT = 10.0
ANSWER_TIMEOUT = 10.0

Listener = Callable[[Dump | list[RowChange]], None]


def _unheard() -> None:
    """For who does not ask whether the connection is up."""


class Connection:
    """A replica that is kept in step, and transactions. Reconnects by itself, to any of its remotes, for ever."""

    def __init__(self, remote: str, database: str, listener: Listener, on_link: Callable[[], None]) -> None:
        self.remote = remote
        self.database = database
        self.columns: Mapping[str, frozenset[str]] = {}
        """What this server has of the wanted columns, by table."""
        self._listener = listener
        self._on_link = on_link
        self._loop = asyncio.get_running_loop()
        self._link = ReplicaState(up=False, locked=False)
        self._moved = asyncio.Event()
        self._turn = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        remote: str,
        database: str,
        wanted: schema.Wanted,
        listener: Listener,
        *,
        lock: str = "",
        conditions: Mapping[str, Sequence[Any]] | None = None,
        leader_only: bool = True,
        on_link: Callable[[], None] = _unheard,
        timeout: float = CONNECT_TIMEOUT,  # noqa: ASYNC109 - handed to blocking code in a thread
    ) -> Self:
        """Connect, and return when the listener has the first Dump. Raises OvnUnavailable.

        ``conditions`` choose the rows to replicate, by table, as OVSDB's monitor_cond_change has them.
        With ``lock``, nothing is written without that lock of the server (RFC 7047, section 4.1.8).
        ``on_link`` is called when ``up`` or ``locked`` has changed.
        """
        self = cls(remote, database, listener, on_link)
        try:
            await asyncio.to_thread(self._start, wanted, lock, conditions or {}, timeout, leader_only=leader_only)
        except (exceptions.TimeoutException, OSError) as error:
            if isinstance(error, OvnUnavailable):
                raise
            silent = f"{database} at {remote} does not answer within {timeout:g} s"
            raise OvnUnavailable(self._explained(silent)) from error
        await self._until(lambda: self._link.up, timeout)
        return self

    async def close(self) -> None:
        await asyncio.to_thread(self._connection.stop, ANSWER_TIMEOUT)

    @property
    def up(self) -> bool:
        """Whether the replica is in step with a server."""
        return self._link.up

    @property
    def locked(self) -> bool:
        """Whether the lock is ours."""
        return self._link.locked

    @property
    def obstacle(self) -> str:
        """That it is not connected, and why as far as TLS knows it."""
        return self._explained(f"{self.database} at {self.remote} is not connected")

    async def wait_for_lock(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - None waits for ever
        """Whether the lock is ours, at the latest after the timeout."""
        return await self._until(lambda: self._link.locked, timeout)

    async def transact(self, operations: Sequence[Operation]) -> None:
        """Do the operations together, once. The listener knows their effects before this returns.

        Raises Fenced, Stale, OvnRejected, or OvnUnavailable; after the last it is unknown whether they were done.
        """
        async with self._turn:
            if not self._link.up:
                raise OvnUnavailable(self.obstacle)
            await self._do(_Transact(self._replica, self._loop, operations))

    async def steal_lock(self) -> None:
        """Take the lock from whoever has it: from then on that one is fenced, even if it is frozen now."""
        async with self._turn:
            await self._do(_Steal(self._replica, self._loop))

    def _explained(self, text: str) -> str:
        """With what TLS has to say about it."""
        return ": ".join([text, *filter(None, map(tls.problem, schema.split(self.remote)))])

    async def _do(self, work: "_Work") -> None:
        try:
            self._connection.txns.put(work, block=False)
        except queue.Full:
            raise OvnUnavailable(f"{self.database} at {self.remote} has not answered yet") from None
        await work.outcome

    def _start(
        self,
        wanted: schema.Wanted,
        lock: str,
        conditions: Mapping[str, Sequence[Any]],
        timeout: float,
        *,
        leader_only: bool,
    ) -> None:
        vlog.use_python_logger(max_level=vlog.WARN)
        fastjson.install()
        helper, self.columns = schema.helper(schema.fetch(self.remote, self.database, timeout), wanted)
        self._replica = Replica(self.remote, helper, self._report, leader_only=leader_only)
        for table, condition in conditions.items():
            if table in self._replica.tables:
                self._replica.cond_change(table, list(condition))
        if lock:
            self._replica.set_lock(lock)
        self._connection = ovsdbapp_connection.Connection(self._replica, timeout)
        try:
            self._connection.start()
        except exceptions.TimeoutException:
            self._replica.close()
            raise

    def _report(self, report: ReplicaReport) -> None:
        """From the thread to the loop, in order: effects of a transaction come before its outcome."""
        with contextlib.suppress(RuntimeError):  # the loop is gone, and so is who would listen
            self._loop.call_soon_threadsafe(self._receive, report)

    def _receive(self, report: ReplicaReport) -> None:
        if not isinstance(report, ReplicaState):
            self._listener(report)
            return
        if report.up != self._link.up:
            log.info("connected" if report.up else "connection lost", database=self.database, remote=self.remote)
        self._link = report
        self._moved.set()
        self._on_link()

    async def _until(self, holds: Callable[[], bool], timeout: float | None) -> bool:  # noqa: ASYNC109
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not holds():
                    self._moved.clear()
                    await self._moved.wait()
        return holds()


class _Work(ABC):
    """Work for ovsdbapp's Connection, as it takes it: ``do_commit`` in its thread, the result to ``results``."""

    def __init__(self, replica: Replica, loop: asyncio.AbstractEventLoop) -> None:
        self.outcome: asyncio.Future[None] = loop.create_future()
        self.results = self
        self._replica = replica
        self._loop = loop

    def do_commit(self) -> OvnError | None:
        if self.outcome.done():
            return None  # cancelled: nobody waits for it any more
        if not self._replica.in_step:
            return OvnUnavailable("the connection was lost")
        return self._commit()

    @abstractmethod
    def _commit(self) -> OvnError | None: ...

    def put(self, outcome: Any) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._deliver, outcome)

    def _deliver(self, outcome: Any) -> None:
        if self.outcome.done():
            return
        if outcome is None:
            self.outcome.set_result(None)
        else:
            # A bug of ours or of the library comes as its ExceptionResult.
            self.outcome.set_exception(outcome if isinstance(outcome, BaseException) else outcome.ex)


class _Steal(_Work):
    def _commit(self) -> OvnError | None:
        self._replica.steal_lock()
        return None


class _Transact(_Work):
    """One transaction."""

    def __init__(self, replica: Replica, loop: asyncio.AbstractEventLoop, operations: Sequence[Operation]) -> None:
        super().__init__(replica, loop)
        self._operations = operations

    def _commit(self) -> OvnError | None:
        transaction = _Transaction(self._replica)
        for operation in self._operations:
            transaction.add_op(operation)
        return _verdict(transaction, self._drive(transaction))

    def _drive(self, transaction: "_Transaction") -> str:
        """The status of the transaction once it is final."""
        deadline = time.monotonic() + ANSWER_TIMEOUT
        while (status := str(transaction.commit())) == transaction.INCOMPLETE:
            if time.monotonic() >= deadline:
                self._replica.force_reconnect()
            self._replica.run()
            waiter = poller.Poller()
            self._replica.wait(waiter)
            transaction.wait(waiter)
            waiter.timer_wait(max(0, int((deadline - time.monotonic()) * 1000)) or 100)
            waiter.block()
        return status


class _Transaction(idl.Transaction):  # type: ignore[misc]
    """Knows whether the server has answered: a lost connection looks like a failed ``wait`` otherwise."""

    answered = False

    def _process_reply(self, message: Any) -> None:
        self.answered = True
        super()._process_reply(message)


def _verdict(transaction: _Transaction, status: str) -> OvnError | None:
    match status:
        case transaction.SUCCESS | transaction.UNCHANGED:
            return None
        case transaction.NOT_LOCKED:
            return Fenced("the database's lock is another's: somebody else leads")
        case transaction.TRY_AGAIN if transaction.answered:
            return Stale("rows have changed since this was decided")
        case transaction.TRY_AGAIN:
            return OvnUnavailable("the connection was lost before the answer came")
        case _:
            return OvnRejected(f"the database refuses: {transaction.get_error()}")

"""Asking a database server what its tables and columns are, so that only those are replicated that it has."""

import errno
import os
import time
from collections.abc import Collection, Mapping
from typing import Any

from ovs import jsonrpc, poller, stream
from ovs.db import idl

from virtnet.ovn import tls
from virtnet.ovn.errors import OvnUnavailable

Wanted = Mapping[str, Collection[str]]
"""Columns by table."""


def split(remote: str) -> list[str]:
    """The remotes of a list: ``tcp:10.0.0.1:6641,tcp:10.0.0.2:6641``."""
    return [part.strip() for part in remote.split(",") if part.strip()]


def fetch(remote: str, database: str, timeout: float) -> dict[str, Any]:
    """The schema of a database, from the first remote that tells it. Blocks. Raises OvnUnavailable."""
    deadline = time.monotonic() + timeout
    reasons = []
    for one in split(remote):
        try:
            return _ask(one, database, deadline)
        except OSError as error:
            reasons.append(tls.problem(one) or f"{one}: {error.strerror or error}")
    raise OvnUnavailable(f"no schema of {database} from {'; '.join(reasons) or 'an empty remote'}")


def _ask(remote: str, database: str, deadline: float) -> dict[str, Any]:
    try:
        opened = stream.Stream.open(remote)
    except ValueError as invalid:
        raise OSError(errno.EINVAL, f"not a remote: {invalid}") from invalid
    error, opened = stream.Stream.open_block(opened, _left(deadline))
    if error:
        raise OSError(error, os.strerror(error))
    connection = jsonrpc.Connection(opened)
    try:
        request = jsonrpc.Message.create_request("get_schema", [database])
        connection.send(request)
        while True:
            error, reply = connection.recv()
            if reply is not None and reply.id == request.id:
                break
            if error not in (0, errno.EAGAIN) or not _left(deadline):
                code = errno.ETIMEDOUT if error in (0, errno.EAGAIN) else abs(error)
                raise OSError(code, "connection closed" if error < 0 else os.strerror(code))
            if reply is None:
                _wait(connection, deadline)
    finally:
        connection.close()
    if reply.type != jsonrpc.Message.T_REPLY:
        raise OSError(errno.ENOENT, f"it has no database {database}: {reply.error}")
    schema: dict[str, Any] = reply.result
    return schema


def _left(deadline: float) -> int:
    return max(0, int((deadline - time.monotonic()) * 1000))


def _wait(connection: Any, deadline: float) -> None:
    waiter = poller.Poller()
    connection.run()
    connection.wait(waiter)
    connection.recv_wait(waiter)
    waiter.timer_wait(_left(deadline))
    waiter.block()


def helper(schema: dict[str, Any], wanted: Wanted) -> tuple[idl.SchemaHelper, dict[str, frozenset[str]]]:
    """What to replicate: the wanted columns as far as this version has them, which come back by table."""
    tables = schema["tables"]
    there = {
        table: frozenset(column for column in columns if column in tables[table]["columns"])
        for table, columns in wanted.items()
        if table in tables
    }
    chosen = idl.SchemaHelper(None, schema)
    for table, columns in there.items():
        chosen.register_columns(table, sorted(columns))
    return chosen, there

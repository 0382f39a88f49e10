"""The database of the node's own Open vSwitch (ovs-vswitchd.conf.db(5)): one replica, whoever of us reads or writes."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from virtnet.ovn.connection import Connection, Dump, RowChange

_WANTED = {
    "Open_vSwitch": (
        *("external_ids", "cur_cfg", "next_cfg"),
        *("other_config", "dpdk_initialized", "dpdk_version", "iface_types"),
    ),
    "Bridge": ("name", "datapath_type", "external_ids", "ports"),
    "Port": ("name", "interfaces"),
    "Interface": ("name", "type", "external_ids", "error", "ofport", "link_state"),
}
_PLAIN: Mapping[str, Any] = {
    **dict.fromkeys(("name", "datapath_type", "type"), ""),
    **dict.fromkeys(("error", "ofport", "link_state", "dpdk_version")),
    **dict.fromkeys(("ports", "interfaces", "iface_types"), frozenset()),
    **dict.fromkeys(("cur_cfg", "next_cfg"), 0),
    "external_ids": {},
    "other_config": {},
    "dpdk_initialized": False,
}

SwitchRow = Mapping[str, Any]


class SwitchDatabase:
    """Used from one event loop."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, SwitchRow]] = {table: {} for table in _WANTED}
        self._names: dict[str, dict[str, str]] = {table: {} for table in _WANTED}
        """Table -> name -> uuid: names are unique in the switch, and never change."""
        self._changed = asyncio.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._connection: Connection

    @classmethod
    async def connect(cls, remote: str) -> Self:
        """Raises OvnUnavailable."""
        self = cls()
        self._connection = await Connection.open(
            remote, "Open_vSwitch", _WANTED, self._receive, leader_only=False, on_link=self._tell
        )
        return self

    async def close(self) -> None:
        await self._connection.close()

    @property
    def up(self) -> bool:
        return self._connection.up

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call it after every change of a row, and of ``up``."""
        self._callbacks.append(callback)

    async def until(self, holds: Callable[[], bool], timeout: float) -> bool:  # noqa: ASYNC109 - False is an answer
        """Whether something holds, at the latest after the timeout; it is asked again after every change."""
        try:
            async with asyncio.timeout(timeout):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    @property
    def root(self) -> SwitchRow:
        """The row of the switch itself."""
        return next(iter(self._rows["Open_vSwitch"].values()), _PLAIN)

    def rows(self, table: str) -> Mapping[str, SwitchRow]:
        """By uuid."""
        return self._rows[table]

    def uuid(self, table: str, name: str) -> str:
        """Of the row of this name; empty where there is none."""
        return self._names[table].get(name, "")

    def named(self, table: str, name: str) -> SwitchRow | None:
        return self._rows[table].get(self.uuid(table, name))

    async def transact(self, *operations: Mapping[str, Any]) -> None:
        """All or nothing. Raises OvnError's subclasses."""
        await self._connection.transact(operations)

    def _receive(self, news: Dump | list[RowChange]) -> None:
        if isinstance(news, Dump):
            self._rows = {
                table: {uuid: {**_PLAIN, **row} for uuid, row in news.rows.get(table, {}).items()} for table in _WANTED
            }
            self._names = {
                table: {row["name"]: uuid for uuid, row in rows.items()} for table, rows in self._rows.items()
            }
        else:
            for change in news:
                self._apply(change)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        for callback in self._callbacks:
            callback()

    def _apply(self, change: RowChange) -> None:
        rows, names = self._rows[change.table], self._names[change.table]
        if change.columns is not None:
            row = rows[change.uuid] = {**_PLAIN, **change.columns}
            names[row["name"]] = change.uuid
            return
        gone = rows.pop(change.uuid, None)
        if gone and names.get(gone["name"]) == change.uuid:
            del names[gone["name"]]


def ofport(row: SwitchRow | None) -> int:
    """The OpenFlow number of an interface; 0 while it has none."""
    found = row["ofport"] if row else None
    return found if isinstance(found, int) and found > 0 else 0


def ovsdb_map(values: Mapping[str, str]) -> list[Any]:
    return ["map", [[key, value] for key, value in sorted(values.items())]]


def insert(table: str, uuid_name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {"op": "insert", "table": table, "uuid-name": uuid_name, "row": row}


def mutate(table: str, name: str, *mutations: Sequence[Any]) -> dict[str, Any]:
    """Of the row of this name; of the switch itself for none."""
    return {"op": "mutate", "table": table, "where": where(name), "mutations": list(mutations)}


def key_changes(column: str, changes: Mapping[str, str | None]) -> list[Any]:
    """Mutations that set keys of a map, and remove those whose value is None: OVSDB inserts no key that is there."""
    put = {key: value for key, value in changes.items() if value is not None}
    delete = [[column, "delete", ["set", sorted(changes)]]] if changes else []
    return [*delete, [column, "insert", ovsdb_map(put)]] if put else delete


def where(name: str) -> list[Any]:
    return [["name", "==", name]] if name else []

"""OVN as far as a measurement needs it: what the northbound database has of each port, and bindings without northd."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from virtnet.ovn.connection import Connection
from virtnet.ovn.replica import Dump, RowChange
from virtnet.topology.ownership import OWNER, OWNER_VALUE

BATCH = 2_000
"""Bindings in one transaction."""


class Rows:
    """The rows of one table by name, as another client of the database sees them."""

    connection: Connection

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._rows: dict[str, Mapping[str, Any]] = {}
        self._news = asyncio.Event()

    @classmethod
    async def open(cls, remote: str, database: str, table: str, columns: Iterable[str]) -> Self:
        self = cls()
        self.connection = await Connection.open(remote, database, {table: tuple(columns)}, self._note)
        return self

    def __len__(self) -> int:
        return len(self._names)

    def uuid(self, name: str) -> str:
        return self._names[name]

    def get(self, name: str) -> Mapping[str, Any]:
        """A row's columns; none where there is no such row."""
        return self._rows.get(self._names.get(name, ""), {})

    async def until(self, holds: Callable[[], bool], seconds: float = 60) -> None:
        async with asyncio.timeout(seconds):
            while not holds():
                self._news.clear()
                await self._news.wait()

    def _note(self, report: Dump | list[RowChange]) -> None:
        if isinstance(report, Dump):
            changes = [
                RowChange("", uuid, row, new=True) for rows in report.rows.values() for uuid, row in rows.items()
            ]
            self._names, self._rows = {}, {}
        else:
            changes = report
        for change in changes:
            if change.columns is None:
                row = self._rows.pop(change.uuid)
                self._names.pop(row["name"], None)
            else:
                row = self._rows[change.uuid] = change.columns
                self._names[row["name"]] = change.uuid
        self._news.set()


async def bind(chassis: Rows, places: Mapping[str, str], ports: Iterable[tuple[str, int, str]]) -> None:
    """Write chassis (by name, and their tunnels' addresses), and bindings of ports as (port, switch, chassis)."""
    operations = []
    for number, (name, address) in enumerate(places.items()):
        encap = {"type": "geneve", "ip": address, "chassis_name": name}
        operations.append({"op": "insert", "table": "Encap", "row": encap, "uuid-name": f"encap{number}"})
        row = {"name": name, "hostname": name, "encaps": ["named-uuid", f"encap{number}"]}
        operations.append({"op": "insert", "table": "Chassis", "row": row})
    await chassis.connection.transact(operations)
    await chassis.until(lambda: len(chassis) == len(places))
    switches: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for port, switch, place in ports:
        switches[switch].append((port, place))
    batch: list[Any] = []
    for switch, members in switches.items():
        name = f"switch{switch}"
        datapath = {"tunnel_key": switch + 1}
        batch.append({"op": "insert", "table": "Datapath_Binding", "row": datapath, "uuid-name": name})
        for key, (port, place) in enumerate(members):
            binding = {
                "logical_port": port,
                "datapath": ["named-uuid", name],
                "tunnel_key": key + 1,
                "chassis": ["uuid", chassis.uuid(place)],
                "up": True,
                "external_ids": ["map", [[OWNER, OWNER_VALUE]]],
            }
            batch.append({"op": "insert", "table": "Port_Binding", "row": binding})
        if len(batch) >= BATCH:
            await chassis.connection.transact(batch)
            batch = []
    await chassis.connection.transact(batch)


async def rebind(chassis: Rows, port: str, place: str = "") -> None:
    """Give a port to a chassis, or (empty) take it off the one that has it."""
    found = ["uuid", chassis.uuid(place)] if place else ["set", []]
    where = [["logical_port", "==", port]]
    await chassis.connection.transact(
        [{"op": "update", "table": "Port_Binding", "where": where, "row": {"chassis": found}}]
    )

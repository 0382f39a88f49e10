"""One northbound database, real or not, with the means to act on it as somebody else."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from tests.topology.samples import map_of
from virtnet.lab.ovn_central import OvnCentral
from virtnet.ovn.fake import FakeDatabase, FakeNorthbound
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.rows import Key, Parent, Row


class FakeWorld:
    def __init__(self) -> None:
        self.database = FakeDatabase()

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[FakeNorthbound]:
        client = FakeNorthbound(self.database)
        try:
            yield client
        finally:
            if client in self.database.clients:
                await client.close()

    def set_key(self, row: Row, column: str, name: str, value: str) -> None:
        there = self.database.rows[row.uuid]
        changed = {**map_of(there, column), name: value}
        self.database.put(replace(there, columns={**there.columns, column: changed}))

    def add_foreign_port(self, switch: Row, name: str) -> None:
        key = Key("Logical_Switch_Port", f"foreign:{name}")
        self.database.put(Row(key, {"name": name}, Parent(switch.key, "ports", switch.uuid)))

    def add_foreign_switch(self, name: str) -> None:
        self.database.put(Row(Key("Logical_Switch", f"foreign:{name}"), {"name": name}))

    def names(self, table: str) -> list[str]:
        return sorted(str(row.columns["name"]) for row in self.database.rows.values() if row.key.table == table)

    def duplicate(self, row: Row) -> None:
        self.database.put(replace(self.database.rows[row.uuid], uuid=""))

    def remove(self, row: Row) -> None:
        self.database.remove(row.uuid)

    def erase(self) -> None:
        self.database.erase()


class RealWorld:
    def __init__(self, central: OvnCentral) -> None:
        self.central = central

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[OvsdbNorthbound]:
        async with OvsdbNorthbound(self.central.remote("nb")) as client:
            yield client

    def set_key(self, row: Row, column: str, name: str, value: str) -> None:
        self.central.nbctl("set", row.key.table, row.uuid, f'{column}:"{name}"="{value}"')

    def add_foreign_port(self, switch: Row, name: str) -> None:
        self.central.nbctl("lsp-add", switch.uuid, name)

    def add_foreign_switch(self, name: str) -> None:
        self.central.nbctl("ls-add", name)

    def names(self, table: str) -> list[str]:
        return sorted(self.central.nbctl("--bare", "--columns=name", "list", table).split())

    def duplicate(self, row: Row) -> None:
        words = [f'external_ids:"{name}"="{value}"' for name, value in map_of(row, "external_ids").items()]
        self.central.nbctl("create", row.key.table, 'cidr="10.0.0.0/8"', *words)

    def remove(self, row: Row) -> None:
        if row.parent:
            self.central.nbctl("remove", row.parent.key.table, row.parent.uuid, row.parent.column, row.uuid)
        else:
            self.central.nbctl("destroy", row.key.table, row.uuid)

    def erase(self) -> None:
        self.central.kill("nb")
        self.central.erase("nb")
        self.central.start("nb")


World = FakeWorld | RealWorld

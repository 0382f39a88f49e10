"""How fast the northbound database is filled and audited. Run it alone on the machine:

    python tests/bench/northbound.py [PORTS] [SUBNETS]

The controller's reconciler works from its store, as after the first list of every watch. The yardstick is the same
rows, column by column, written by ovsdbapp's IDL in one transaction.
"""

import asyncio
import gc
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from ovsdbapp.backend.ovs_idl import command, connection
from ovsdbapp.schema.ovn_northbound.impl_idl import OvnNbApiIdlImpl

from tests.bench.figures import begin, publish
from tests.topology.samples import VPC, port, subnet
from virtnet.api import Resource
from virtnet.controllers.metrics import Metrics
from virtnet.controllers.rows import Rows
from virtnet.controllers.store import Store
from virtnet.lab.ovn_central import OvnCentral
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.ovn.southbound import Southbound
from virtnet.topology.rows import Parent, Ref, Row

BATCH = 100
"""Ports that are added and removed one by one."""


def store(ports: int, subnets: int) -> Store:
    """What a cluster of that size would have put into the controller's store."""
    filled = Store()
    made = [subnet(f"net{number}", f"10.{number}.0.0/16") for number in range(subnets)]
    put(filled, VPC)
    for one in made:
        put(filled, one)
    for index in range(ports):
        put(filled, port(made[index % subnets], 10 + index // subnets, f"vm{index}.net"))
    return filled


def put(filled: Store, resource: Resource) -> None:
    body = resource.manifest()
    created = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
    body["metadata"] |= {"uid": f"{type(resource).__name__}/{resource.key}", "resourceVersion": "1"}
    body["metadata"] |= {"creationTimestamp": created}
    filled.table(type(resource)).put(body)


@asynccontextmanager
async def reconciler(central: OvnCentral, filled: Store) -> AsyncIterator[tuple[Rows, OvsdbNorthbound]]:
    async with OvsdbNorthbound(central.remote("nb")) as northbound, Southbound(central.remote("sb")) as southbound:
        yield (
            Rows(
                SimpleNamespace(),  # no node is in the store, so that nothing is asked of the API server
                filled,
                northbound,
                southbound,
                ended=lambda *_: asyncio.sleep(0),
                again=lambda *_: None,
                written=lambda _: None,
                committed=Metrics().transactions,
            ),
            northbound,
        )


async def timed(rows: Rows, keys: frozenset[str]) -> float:
    began = time.perf_counter()
    assert not await rows.reconcile(keys)
    return time.perf_counter() - began


async def measure(ports: int, subnets: int, folder: Path) -> dict[str, float]:
    filled = store(ports, subnets)
    central = OvnCentral(folder)
    central.start("nb", "sb")
    try:
        async with reconciler(central, filled) as (rows, northbound):
            gc.collect()
            found = {"northbound.ports": ports, "northbound.fill_s": await timed(rows, rows.everything())}
            assert len(northbound.observed()) == len(filled.ports) + 1 + 4 * subnets
            found["northbound.audit_s"] = await timed(rows, rows.everything())
            found |= await one_by_one(rows, filled)
        began = time.perf_counter()
        async with OvsdbNorthbound(central.remote("nb")) as again:
            found["northbound.first_sync_s"] = time.perf_counter() - began
            dump(folder / "rows", again.observed())
    finally:
        central.stop()
    return found


async def one_by_one(rows: Rows, filled: Store) -> dict[str, float]:
    """Ports written and removed, each in a transaction of its own."""
    of = next(iter(filled.subnets))
    new = [port(of, 60000 + number, f"new{number}.net") for number in range(BATCH)]
    adds, removals = [], []
    for one in new:
        put(filled, one)
        adds.append(await timed(rows, frozenset({f"Port/{one.key}"})))
    for one in new:
        filled.ports.remove(one.key)
        removals.append(await timed(rows, frozenset({f"Port/{one.key}"})))
    return {"northbound.port_add_ms": 1000 * median(adds), "northbound.port_delete_ms": 1000 * median(removals)}


def dump(path: Path, rows: list[Row]) -> None:
    """Rows for another process, which shall have no memory of how they were made."""
    path.write_bytes(pickle.dumps(rows))


class Write(command.BaseCommand):  # type: ignore[misc]  # ovsdbapp has no types
    """Rows as an ovsdbapp command of one's own would write them."""

    def __init__(self, api: OvnNbApiIdlImpl, rows: list[Row]) -> None:
        super().__init__(api)
        self.rows = rows

    def run_idl(self, txn: Any) -> None:
        made: dict[Any, Any] = {}
        for row in self.rows:
            new = made[row.key] = txn.insert(self.api.idl.tables[row.key.table])
            for column, value in row.columns.items():
                if value and not isinstance(value, Ref):
                    setattr(new, column, list(value) if isinstance(value, frozenset) else value)
        for row in self.rows:
            for column, value in row.columns.items():
                if isinstance(value, Ref):
                    setattr(made[row.key], column, made[value.key].uuid)
            if isinstance(row.parent, Parent):
                made[row.parent.key].addvalue(row.parent.column, made[row.key].uuid)


def write_raw(rows: Path, folder: Path) -> float:
    central = OvnCentral(folder)
    central.start("nb")
    try:
        idl = connection.OvsdbIdl.from_server(central.remote("nb"), "OVN_Northbound")
        write = Write(OvnNbApiIdlImpl(connection.Connection(idl, 120)), pickle.loads(rows.read_bytes()))  # noqa: S301
        gc.collect()
        began = time.perf_counter()
        write.execute(check_error=True)
        return time.perf_counter() - began
    finally:
        central.destroy()


def main(ports: int = 10_000, subnets: int = 40) -> None:
    begin()
    with tempfile.TemporaryDirectory() as folder:
        ours = Path(folder, "ours")
        found = asyncio.run(measure(ports, subnets, ours))
        code = [sys.executable, __file__, "raw", str(ours / "rows"), str(Path(folder, "raw"))]
        found["northbound.raw_ovsdbapp_s"] = float(subprocess.run(code, check=True, text=True, stdout=-1).stdout)
    found["northbound.ratio"] = found["northbound.fill_s"] / found["northbound.raw_ovsdbapp_s"]
    publish(f"{ports:,} Ports into an empty northbound database", found)


if __name__ == "__main__":
    if sys.argv[1:2] == ["raw"]:
        sys.stdout.write(f"{write_raw(*map(Path, sys.argv[2:]))}\n")
    else:
        main(*map(int, sys.argv[1:]))

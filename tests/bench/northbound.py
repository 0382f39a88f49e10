"""How fast the northbound database is filled and audited. Run it alone on the machine:

    python tests/bench/northbound.py [PORTS] [SUBNETS]

The controller's writer works from its memory, as after the first list of every watch. The yardstick is the same
rows, column by column, written by ovsdbapp's IDL in one transaction.
"""

import asyncio
import gc
import pickle
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from ovsdbapp.backend.ovs_idl import command, connection
from ovsdbapp.schema.ovn_northbound.impl_idl import OvnNbApiIdlImpl

from tests.bench.figures import begin, publish
from tests.topology.samples import VPC, port, subnet
from virtnet.api import Port, Resource
from virtnet.controllers.metrics import Metrics
from virtnet.controllers.state import COMPILE, ControllerState
from virtnet.controllers.worker import Queue
from virtnet.controllers.writer import Writer
from virtnet.engine.due import Task
from virtnet.features.leases import leases_of
from virtnet.features.sources import SUBNETS
from virtnet.kube import kinds
from virtnet.lab.ovn_central import OvnCentral
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.rows import Parent, Ref, Row

BATCH = 100
"""Ports that are added and removed one by one."""


def state(ports: int, subnets: int) -> ControllerState:
    """What a cluster of that size would have put into the controller's memory."""
    filled = ControllerState()
    made = [subnet(f"net{number}", f"10.{number}.0.0/16") for number in range(subnets)]
    put(filled, VPC)
    for one in made:
        put(filled, one)
    for index in range(ports):
        put_port(filled, port(made[index % subnets], 10 + index // subnets, f"vm{index}.net"))
    return filled


def put(filled: ControllerState, resource: Resource) -> None:
    body = resource.manifest()
    created = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
    body["metadata"] |= {"uid": f"{type(resource).__name__}/{resource.key}", "resourceVersion": "1"}
    body["metadata"] |= {"creationTimestamp": created}
    filled.put(kinds.of(type(resource)), body)


def put_port(filled: ControllerState, one: Port) -> None:
    """A Port with the leases that prove it."""
    for lease in leases_of(one.key, one.spec).values():
        put(filled, lease)
    put(filled, one)


@dataclass
class Reconciler:
    """The writer, and what there is for it to do."""

    state: ControllerState
    northbound: OvsdbNorthbound

    def __post_init__(self) -> None:
        self.queue: Queue[Task] = Queue("rows")
        self.writer = Writer(self.state, self.northbound, self.queue, lambda _: None, Metrics().transactions)

    async def write(self, *, everything: bool = False) -> float:
        """Seconds for all that is due, or for a look at everything."""
        began = time.perf_counter()
        graph = self.state.graph
        for task in {*graph.due(), *(graph.tasks() if everything else ())}:
            if task.name == COMPILE:
                self.queue.add(task)
        while outcomes := self.writer.compile():
            await self.writer.write(outcomes)
        return time.perf_counter() - began


async def measure(ports: int, subnets: int, directory: Path) -> dict[str, float]:
    filled = state(ports, subnets)
    central = OvnCentral(directory)
    central.start("nb", "sb")
    try:
        async with OvsdbNorthbound(central.remote("nb")) as northbound:
            reconciler = Reconciler(filled, northbound)
            gc.collect()
            found = {"northbound.ports": ports, "northbound.fill_s": await reconciler.write()}
            assert len(northbound.observed()) == ports + 1 + 4 * subnets
            found["northbound.audit_s"] = await reconciler.write(everything=True)
            found |= await one_by_one(reconciler)
        began = time.perf_counter()
        async with OvsdbNorthbound(central.remote("nb")) as again:
            found["northbound.first_sync_s"] = time.perf_counter() - began
            dump(directory / "rows", again.observed())
    finally:
        central.stop()
    return found


async def one_by_one(reconciler: Reconciler) -> dict[str, float]:
    """Ports written and removed, each in a transaction of its own."""
    filled = reconciler.state
    of = next(iter(filled.objects(SUBNETS)))
    new = [port(of, 60000 + number, f"new{number}.net") for number in range(BATCH)]
    adds, removals = [], []
    for one in new:
        put_port(filled, one)
        adds.append(await reconciler.write())
    for one in new:
        filled.discard_deleted(kinds.of(Port), one.key, f"Port/{one.key}")
        removals.append(await reconciler.write())
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


def write_raw(rows: Path, directory: Path) -> float:
    central = OvnCentral(directory)
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
    with tempfile.TemporaryDirectory() as directory:
        ours = Path(directory, "ours")
        found = asyncio.run(measure(ports, subnets, ours))
        code = [sys.executable, __file__, "raw", str(ours / "rows"), str(Path(directory, "raw"))]
        found["northbound.raw_ovsdbapp_s"] = float(subprocess.run(code, check=True, text=True, stdout=-1).stdout)
    found["northbound.ratio"] = found["northbound.fill_s"] / found["northbound.raw_ovsdbapp_s"]
    publish(f"{ports:,} Ports into an empty northbound database", found)


if __name__ == "__main__":
    if sys.argv[1:2] == ["raw"]:
        sys.stdout.write(f"{write_raw(*map(Path, sys.argv[2:]))}\n")
    else:
        main(*map(int, sys.argv[1:]))

"""How fast the northbound database is written and compared. Run it alone on the machine:

    python tests/bench/northbound.py [PORTS] [SUBNETS]

The yardstick is the same rows written by ovsdbapp's IDL directly, in one transaction, by hand.
"""

import asyncio
import gc
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import structlog
from ovsdbapp.backend.ovs_idl import command, connection
from ovsdbapp.schema.ovn_northbound.impl_idl import OvnNbApiIdlImpl

from tests.topology.samples import VPC, Range, port, subnet
from virtnet.api import Port, Subnet
from virtnet.handoff.options import ChassisOptions
from virtnet.lab.ovn_central import OvnCentral
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.difference import difference
from virtnet.topology.rows import Row

NOWHERE = ChassisOptions()


@dataclass
class Figures:
    ports: int
    subnets: int
    compile_s: float = 0
    difference_s: float = 0
    commit_s: float = 0
    total_s: float = 0
    raw_ovsdbapp_s: float = 0
    ratio: float = 0
    first_sync_s: float = 0
    audit_s: float = 0
    chassis_change_ms: float = 0
    port_add_ms: float = 0
    port_delete_ms: float = 0
    all_ports_change_s: float = 0
    delete_all_s: float = 0
    rss_imports_mib: int = 0
    rss_replica_mib: int = 0


class Cluster:
    """The objects of a cluster of that size."""

    def __init__(self, ports: int, subnets: int) -> None:
        self.subnets = [subnet(f"net{number}", f"10.{number}.0.0/16") for number in range(subnets)]
        self.ports = [
            (port(of, 10 + index // subnets, f"vm{index}.net"), of)
            for index in range(ports)
            for of in (self.subnets[index % subnets],)
        ]

    def rows(self, chassis: ChassisOptions = NOWHERE) -> list[Row]:
        rows = vpc_rows(VPC)
        for of in self.subnets:
            rows += subnet_rows(of, Range.of(of))
        for one, of in self.ports:
            rows += port_rows(one, of, chassis)
        return rows


@contextmanager
def clock(put: Callable[[float], None]) -> Iterator[None]:
    gc.collect()
    started = time.perf_counter()
    yield
    put(time.perf_counter() - started)


def rss() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) // 1024


async def measure(ports: int, subnets: int) -> Figures:
    figures = Figures(ports, subnets)

    def note(name: str) -> Callable[[float], None]:
        return lambda seconds: setattr(figures, name, seconds)

    cluster = Cluster(ports, subnets)
    with tempfile.TemporaryDirectory() as directory:
        central = OvnCentral(Path(directory))
        central.start("nb")
        try:
            async with OvsdbNorthbound(central.remote("nb")) as northbound:
                with clock(note("total_s")):
                    with clock(note("compile_s")):
                        rows = cluster.rows()
                    with clock(note("difference_s")):
                        ops = difference(rows, northbound.observed())
                    with clock(note("commit_s")):
                        await northbound.commit(ops)
                with clock(note("audit_s")):
                    assert difference(cluster.rows(), northbound.observed()) == []
                await single(figures, northbound, cluster)
                figures.rss_imports_mib = int(alone("watch"))
                figures.rss_replica_mib = int(alone("watch", central.remote("nb")))
                with clock(note("all_ports_change_s")):
                    wanted = cluster.rows(ChassisOptions(("one",)))
                    await northbound.commit(difference(wanted, northbound.observed()))
                with clock(note("first_sync_s")):
                    async with OvsdbNorthbound(central.remote("nb")) as second:
                        assert len(second.observed()) == len(rows)
                with clock(note("delete_all_s")):
                    await northbound.commit(difference([], northbound.observed()))
        finally:
            central.destroy()
    figures.raw_ovsdbapp_s = alone("raw", ports, subnets)
    figures.ratio = figures.total_s / figures.raw_ovsdbapp_s
    return figures


async def single(figures: Figures, northbound: OvsdbNorthbound, cluster: Cluster) -> None:
    """One port changed, added and removed, each in its own transaction, as the controller does it."""
    one, of = cluster.ports[len(cluster.ports) // 2]
    changes = [[ChassisOptions(("one",)), NOWHERE][number % 2] for number in range(100)]
    figures.chassis_change_ms = await median([port_rows(one, of, chassis) for chassis in changes], northbound, one)
    new = fresh(cluster)
    times = [[], []]
    for number in range(20):
        rows = port_rows(new, of, NOWHERE) if number % 2 == 0 else []
        times[number % 2].append(await timed(rows, northbound, new))
    figures.port_add_ms, figures.port_delete_ms = (statistics.median(some) * 1000 for some in times)


def fresh(cluster: Cluster) -> Port:
    return port(cluster.subnets[0], 60000, "fresh.net")


async def median(steps: list[list[Row]], northbound: OvsdbNorthbound, one: Port) -> float:
    return statistics.median([await timed(rows, northbound, one) for rows in steps]) * 1000


async def timed(rows: list[Row], northbound: OvsdbNorthbound, one: Port) -> float:
    started = time.perf_counter()
    ops = difference(rows, northbound.of(f"Port/{one.key}"))
    assert len(ops) == 1
    await northbound.commit(ops)
    return time.perf_counter() - started


def alone(*arguments: object) -> float:
    """A figure from a process of its own."""
    code = [sys.executable, __file__, *map(str, arguments)]
    return float(subprocess.run(code, check=True, capture_output=True, text=True).stdout)


async def watch(remote: str) -> int:
    async with OvsdbNorthbound(remote):
        return rss()


def write_raw(ports: int, subnets: int) -> float:
    cluster = Cluster(ports, subnets)

    class Write(command.BaseCommand):
        def run_idl(self, txn) -> None:
            tables = self.api.idl.tables
            made: dict[Subnet, object] = {}
            for of in self.subnets:
                made[of.name] = txn.insert(tables["Logical_Switch"])
                made[of.name].name = of.name
            for one, of in self.ports:
                row = txn.insert(tables["Logical_Switch_Port"])
                row.name = one.key
                row.addresses = row.port_security = [" ".join((one.spec.mac_address, *one.spec.addresses))]
                row.external_ids = {
                    "virtnet/owner": "virtnet",
                    "virtnet/id": f"Port/{one.key}",
                    "virtnet/kind": "Port",
                }
                made[of.name].addvalue("ports", row.uuid)

    with tempfile.TemporaryDirectory() as directory:
        central = OvnCentral(Path(directory))
        central.start("nb")
        try:
            idl = connection.OvsdbIdl.from_server(central.remote("nb"), "OVN_Northbound")
            api = OvnNbApiIdlImpl(connection.Connection(idl, 120))
            write = Write(api)
            write.subnets, write.ports = cluster.subnets, cluster.ports
            gc.collect()
            started = time.perf_counter()
            write.execute(check_error=True)
            return time.perf_counter() - started
        finally:
            central.destroy()


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    match sys.argv[1:]:
        case ["raw", ports, subnets]:
            result = write_raw(int(ports), int(subnets))
        case ["watch"]:
            result = rss()
        case ["watch", remote]:
            result = asyncio.run(watch(remote))
        case arguments:
            ports, subnets, *_ = *map(int, arguments), *(10000, 40)[len(arguments) :]
            figures = asdict(asyncio.run(measure(ports, subnets)))
            result = json.dumps({name: round(value, 3) for name, value in figures.items()}, indent=2)
    sys.stdout.write(f"{result}\n")


if __name__ == "__main__":
    main()

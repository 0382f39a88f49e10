"""What a large cluster costs the controller: a start, memory, one event, and a handoff beside much other work.

    python tests/bench/scale.py [PORTS] [SUBNETS]

One fifth of the Ports is in one Subnet, half of the Subnets in one Vpc, and there is a node for every second Subnet.
Controller and OVN's databases are real processes. etcd and kube-apiserver take minutes for so many objects on one
machine, which then measures them: the API server is that of ``api_server``, and northd's bindings are written
beforehand. A VM has one NIC; VMs that do not migrate have no pods.

- ``start_empty_s``: from the process's start until the northbound database, empty before, has all ports.
- ``start_complete_s``: from the process's start, where all is as it should be, until everything was looked at.
- ``leader_changes``: how often the controller has lost or taken over its Lease, but for the starts themselves.
- ``rss_kb_per_port``: peak memory over all of it, less that of a controller that knows of no object.
- ``p50_ms``: from a VM's creation until another client of the northbound database sees its port.
- ``beside.commit_p99_ms``: from the transaction by which a migration's source lets go of the port until that client
  sees it given to the target alone, while all Ports of the largest Subnet are due because that has changed.

Run it alone on the machine.
"""

import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.api_server import ApiServer
from tests.bench.cluster import (
    LEASES,
    NAMESPACE,
    SUBNETS,
    Guest,
    Move,
    Size,
    bindings,
    chassis_of,
    encap,
    fill,
    subnet_name,
)
from tests.bench.controller_process import cpu, idle, launch, logged, peak_mb, synced
from tests.bench.figures import begin, publish
from tests.bench.ovn import Rows, bind, rebind
from virtnet.kube.kinds import VMS
from virtnet.lab.control_plane import free_port
from virtnet.lab.daemon import Daemon
from virtnet.lab.ovn_central import OvnCentral

SINGLE = 200
MOVES = 100
STARTS = 3
PATIENCE = 600
"""Seconds that a start may take."""


@dataclass
class Bench:
    size: Size
    server: ApiServer
    ports: Rows
    """What the northbound database has."""
    chassis: Rows
    """Of the southbound database."""
    daemon: Daemon
    metrics: int


async def start(made: Bench, name: str) -> dict[str, float]:
    before, began = synced(made.daemon), time.perf_counter()
    made.daemon.start()
    all_ports = asyncio.create_task(made.ports.until(lambda: len(made.ports) >= made.size.ports, PATIENCE))
    async with asyncio.timeout(PATIENCE):
        while synced(made.daemon) == before:  # noqa: ASYNC110 - its log says so, and it serves no metrics at first
            await asyncio.sleep(0.1)
    lists = time.perf_counter() - began
    await all_ports
    rows = time.perf_counter() - began
    whole = await idle(made.metrics, PATIENCE) - began
    return {
        f"scale.start_{name}_s": rows if name == "empty" else whole,
        f"scale.start_{name}_lists_s": lists,
        f"scale.start_{name}_whole_s": whole,
        f"scale.start_{name}_cpu_s": cpu(made.daemon),
        f"scale.start_{name}_rss_mb": peak_mb(made.daemon),
    }


async def one_by_one(made: Bench) -> dict[str, float]:
    """VMs that come as admission lets them in."""
    took = []
    for number in range(SINGLE):
        guest = Guest(made.size, made.size.ports + number)
        for lease in guest.leases():
            made.server.put(LEASES, lease)
        await asyncio.sleep(0.05)
        began = time.perf_counter()
        made.server.put(VMS, guest.vm())
        await made.ports.until(lambda port=guest.port: bool(made.ports.get(port)))  # type: ignore[misc]  # mypy knows no lambda with a default
        took.append(1000 * (time.perf_counter() - began))
    cuts = quantiles(took, n=100)
    return {"scale.p50_ms": cuts[49], "scale.p99_ms": cuts[98]}


async def commits_beside_others(made: Bench) -> dict[str, float]:
    """Handoffs, each while the whole of the largest Subnet has to be looked at again."""
    moves = [Move(Guest(made.size, made.size.crowd + number)) for number in range(MOVES)]
    for move in moves:
        move.begin(made.server)
    for move in moves:
        await made.ports.until(lambda move=move: _state(made, move) == "Armed")  # type: ignore[misc]  # as above
    took = [await _commit(made, number, move) for number, move in enumerate(moves)]
    cuts = quantiles(took, n=100)
    return {"beside.commit_p50_ms": cuts[49], "beside.commit_p99_ms": cuts[98]}


async def _commit(made: Bench, number: int, move: Move) -> float:
    port = move.guest.port
    dhcp = {"leaseSeconds": 3600 + number}
    made.server.change(SUBNETS, NAMESPACE, subnet_name(0), {"spec": {"dhcp": dhcp}})
    move.arrive(made.server)
    await made.ports.until(lambda: _state(made, move) == "Releasing")
    began = time.perf_counter()
    await rebind(made.chassis, port)
    await made.ports.until(lambda: made.ports.get(port)["options"]["requested-chassis"] == chassis_of(move.target))
    took = 1000 * (time.perf_counter() - began)
    await rebind(made.chassis, port, chassis_of(move.target))
    return took


def _state(made: Bench, move: Move) -> str:
    ids: dict[str, str] = made.ports.get(move.guest.port)["external_ids"]
    return ids.get("virtnet/handoff-state", "")


async def measure(size: Size, directory: Path, central: OvnCentral) -> dict[str, float]:
    server, kubeconfig, metrics, port = ApiServer(), directory / "kubeconfig", free_port(), free_port()
    databases = ["--northbound", central.remote("nb"), "--southbound", central.remote("sb")]
    daemon = launch([*databases, "--metrics-port", str(metrics)], kubeconfig, directory)
    async with AsyncExitStack() as stack:
        kubeconfig.write_text(await stack.enter_async_context(server.serving(port)))
        stack.callback(daemon.stop)
        ports = await Rows.open(
            central.remote("nb"), "OVN_Northbound", "Logical_Switch_Port", ("name", "options", "external_ids")
        )
        stack.push_async_callback(ports.connection.close)
        chassis = await Rows.open(central.remote("sb"), "OVN_Southbound", "Chassis", ("name",))
        stack.push_async_callback(chassis.connection.close)
        made = Bench(size, server, ports, chassis, daemon, metrics)
        base = (await start(Bench(Size(0, 0), server, ports, chassis, daemon, metrics), "base"))[
            "scale.start_base_rss_mb"
        ]
        daemon.stop()
        fill(server, size)
        places = {chassis_of(f"node{number}"): encap(number) for number in range(size.nodes)}
        await bind(chassis, places, ((port, of, chassis_of(node)) for port, of, node in bindings(size)))
        found: dict[str, float] = {"scale.ports": size.ports, "scale.subnets": size.subnets}
        found |= await start(made, "empty")
        daemon.stop()
        found |= await start(made, "complete")
        found |= await one_by_one(made)
        found |= await commits_beside_others(made)
        terms = logged(daemon, "leading") + logged(daemon, "leadership lost")
        found["scale.leader_changes"] = terms - STARTS
        peak = max(found["scale.start_empty_rss_mb"], peak_mb(daemon))
        found["scale.base_rss_mb"], found["scale.rss_mb"] = base, peak
        found["scale.rss_kb_per_port"] = 1024 * (peak - base) / size.ports
    return found


def main(ports: int = 50_000, subnets: int = 2_000) -> None:
    begin()
    with tempfile.TemporaryDirectory() as directory:
        central = OvnCentral(Path(directory, "ovn"))
        try:
            central.start("nb", "sb")
            found = asyncio.run(measure(Size(ports, subnets), Path(directory), central))
        finally:
            central.destroy()
    publish(f"The controller with {ports:,} Ports in {subnets:,} Subnets", found)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

"""How soon the controller follows a VM with 10,000 Ports present, how many a second, and what memory it takes.

    python tests/bench/controller.py [PORTS]

All is real: API server, controller process, both OVN databases. A VM comes as admission lets it in, with its record and
its leases; its time runs from the API server's answer to its creation until its port is seen in the northbound
database by a client of that. Beside it is told when a bare watch sees the VM: that much is the API server's own.

northd makes its bindings of all ports before the controller's memory is taken, and does not run while events are
timed: it would take one of two cores. Run it alone on the machine.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))


from tests.bench.controller_process import controller, cpu, idle, peak_mb, synced
from tests.bench.figures import begin, publish
from tests.conftest import load_definitions
from tests.topology.samples import subnet
from virtnet.api import AddressLease, Subnet
from virtnet.api.names import PINNED, port_name
from virtnet.api.records import PinnedNic, PinnedRecord
from virtnet.controllers.ownership import desired_ports
from virtnet.features.leases import leases_of
from virtnet.features.workloads import Vm
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.kinds import NAMESPACES, VMS
from virtnet.lab.control_plane import ControlPlane, free_port
from virtnet.lab.daemon import Daemon
from virtnet.lab.ovn_central import OvnCentral
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.ovn.southbound import Southbound

LEASES, SUBNETS_KIND = kinds.of(AddressLease), kinds.of(Subnet)
NAMESPACE = "demo"
SUBNETS = [subnet(f"net{number}", f"10.{number}.0.0/16", NAMESPACE) for number in range(40)]
SINGLE = 200
RATE, SECONDS = 120, 12
AT_ONCE = 48


@dataclass(frozen=True)
class Guest:
    """A VM with one NIC, as admission lets it in."""

    number: int

    @property
    def name(self) -> str:
        return f"vm{self.number}"

    @property
    def port(self) -> str:
        return f"{NAMESPACE}/{port_name(self.name, 'net')}"

    def manifest(self) -> dict[str, Any]:
        of = SUBNETS[self.number % len(SUBNETS)]
        third, fourth = divmod(self.number // len(SUBNETS) + 10, 256)
        nic = PinnedNic(
            nad=f"{NAMESPACE}/{of.name}",
            subnet=of.ref,
            mac=f"02:76:6e:{self.number >> 16:02x}:{self.number >> 8 & 255:02x}:{self.number & 255:02x}",
            addresses=(f"10.{self.number % len(SUBNETS)}.{third}.{fourth}",),
        )
        record = PinnedRecord(vm=f"{NAMESPACE}/{self.name}", nics={"net": nic})
        devices = {"interfaces": [{"name": "net", "bridge": {}, "macAddress": nic.mac}],
                   "disks": [{"name": "root", "disk": {"bus": "virtio"}}]}  # fmt: skip
        template = {
            "domain": {"devices": devices, "memory": {"guest": "1Gi"}},
            "networks": [{"name": "net", "multus": {"networkName": of.name}}],
            "volumes": [{"name": "root", "containerDisk": {"image": "registry.example/debian:12"}}],
        }
        return {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachine",
            "metadata": {"name": self.name, "namespace": NAMESPACE, "annotations": {PINNED: record.annotation()}},
            "spec": {"runStrategy": "Halted", "template": {"spec": template}},
        }

    def leases(self) -> Iterable[dict[str, Any]]:
        body = self.manifest()
        vm = Vm.of({**body, "metadata": {**body["metadata"], "uid": "-"}})
        for port, spec in desired_ports(vm.key, vm, ()).items():
            for lease in leases_of(port, spec).values():
                yield lease.manifest()


@dataclass
class Bench:
    cluster: Cluster
    northbound: OvsdbNorthbound
    seen: dict[str, float] = field(default_factory=dict)
    """Port -> when its row was seen in the database."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.northbound.on_change(self._note)

    def _note(self, keys: Iterable[Any]) -> None:
        now = time.perf_counter()
        for key in keys:
            self.seen.setdefault(key.object, now)
        self._news.set()

    async def all_seen(self, guests: Iterable[Guest], seconds: float) -> None:
        missing = {guest.port for guest in guests}
        async with asyncio.timeout(seconds):
            while missing := {port for port in missing if port not in self.seen}:
                self._news.clear()
                await self._news.wait()

    async def admit(self, guests: Iterable[Guest]) -> None:
        """What admission writes before a VM is let in."""
        await in_parallel([self.cluster.create(LEASES, lease) for guest in guests for lease in guest.leases()])

    async def create(self, guest: Guest) -> float:
        """When the API server had answered."""
        await self.cluster.create(VMS, guest.manifest(), NAMESPACE)
        return time.perf_counter()


async def in_parallel(calls: Iterable[Any]) -> None:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(call: Any) -> None:
        async with limit:
            await call

    await asyncio.gather(*map(one, calls))


@asynccontextmanager
async def bench(server: ControlPlane, central: OvnCentral) -> AsyncIterator[Bench]:
    async with (
        await Cluster.connect(str(server.kubeconfig)) as cluster,
        OvsdbNorthbound(central.remote("nb"), lock="") as northbound,
    ):
        await cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        for one in SUBNETS:
            await cluster.create(SUBNETS_KIND, one.manifest(), NAMESPACE)
        yield Bench(cluster, northbound)


async def fill(made: Bench, daemon: Daemon, metrics: int, ports: int) -> dict[str, float]:
    """All VMs come before the controller does, which then makes their Ports, rows and reports."""
    guests = [Guest(number) for number in range(ports)]
    await made.admit(guests)
    await in_parallel([made.create(guest) for guest in guests])
    began = time.perf_counter()
    daemon.start()
    await made.all_seen(guests, 300)
    took = time.perf_counter() - began
    await idle(metrics)
    return {
        "event.ports": ports,
        "event.fill_s": took,
        "event.fill_whole_s": time.perf_counter() - began,
        "northbound.fill_rss_mb": peak_mb(daemon),
    }


async def bind(central: OvnCentral, guests: Iterable[Guest]) -> None:
    """Let northd make a binding of every port."""
    central.start("northd")
    try:
        async with Southbound(central.remote("sb")) as southbound, asyncio.timeout(120):
            while not all(southbound.binding(guest.port) for guest in guests):  # noqa: ASYNC110 - northd does it in one go
                await asyncio.sleep(0.2)
    finally:
        central.stop("northd")


async def restart(daemon: Daemon, metrics: int) -> dict[str, float]:
    """The controller again, where all is as it should be."""
    before = synced(daemon)
    daemon.start()
    began = time.perf_counter()
    async with asyncio.timeout(120):
        while synced(daemon) == before:  # noqa: ASYNC110 - its log says so, and it serves no metrics at first
            await asyncio.sleep(0.1)
    await idle(metrics)
    took = time.perf_counter() - began
    return {"event.restart_s": took, "event.restart_cpu_s": cpu(daemon), "northbound.restart_rss_mb": peak_mb(daemon)}


async def one_by_one(made: Bench, first: int) -> dict[str, float]:
    guests = [Guest(first + number) for number in range(SINGLE)]
    await made.admit(guests)
    heard: dict[str, float] = {}
    ready = asyncio.Event()

    async def listen() -> None:
        async with aclosing(made.cluster.watch(VMS)) as changes:
            async for change, found in changes:
                if change == "SYNC":
                    ready.set()
                elif change == "ADDED":
                    heard[found["metadata"]["name"]] = time.perf_counter()

    listening = asyncio.create_task(listen())
    await ready.wait()
    answered = {}
    for guest in guests:
        answered[guest] = await made.create(guest)
        await made.all_seen([guest], 30)
    async with asyncio.timeout(30):
        while len(heard) < len(guests):  # noqa: ASYNC110 - the port of the last one may be seen before its VM is
            await asyncio.sleep(0.1)
    listening.cancel()
    cuts = quantiles((1000 * max(0, made.seen[guest.port] - moment) for guest, moment in answered.items()), n=100)
    watch = median(1000 * max(0, heard[guest.name] - moment) for guest, moment in answered.items())
    return {"event.p50_ms": cuts[49], "event.p99_ms": cuts[98], "event.watch_p50_ms": watch}


async def at_rate(made: Bench, first: int) -> dict[str, float]:
    """VMs at an even pace, whether or not the controller keeps up."""
    guests = [Guest(first + number) for number in range(RATE * SECONDS)]
    await made.admit(guests)
    began = time.perf_counter() + 0.1

    async def come(number: int, guest: Guest) -> float:
        await asyncio.sleep(began + number / RATE - time.perf_counter())
        return await made.create(guest)

    answered = await asyncio.gather(*(come(number, guest) for number, guest in enumerate(guests)))
    await made.all_seen(guests, 120)
    seen = [made.seen[guest.port] for guest in guests]
    lags = [1000 * max(0, there - moment) for there, moment in zip(seen, answered, strict=True)]
    return {
        "event.offered_per_s": (len(guests) - 1) / (max(answered) - min(answered)),
        "event.rate_per_s": (len(guests) - 1) / (max(seen) - min(seen)),
        "event.lag_p50_ms": median(lags),
        "event.lag_max_ms": max(lags),
    }


async def measure(server: ControlPlane, central: OvnCentral, state: Path, ports: int) -> dict[str, float]:
    await load_definitions(server)
    metrics = free_port()
    daemon = controller(server, central, state, metrics)
    async with bench(server, central) as made:
        try:
            found = await fill(made, daemon, metrics, ports)
            daemon.stop()
            await bind(central, map(Guest, range(ports)))
            found |= await restart(daemon, metrics)
            found |= await one_by_one(made, ports)
            await idle(metrics)
            found |= await at_rate(made, ports + SINGLE)
            await idle(metrics)
            found["northbound.rss_mb"] = max(found["northbound.fill_rss_mb"], peak_mb(daemon))
        finally:
            daemon.stop()
    return found


def main(ports: int = 10_000) -> None:
    begin()
    with tempfile.TemporaryDirectory() as directory:
        server = ControlPlane.local(Path(directory, "kube"))
        central = OvnCentral(Path(directory, "ovn"))
        try:
            server.start()
            central.start("nb", "sb")
            found = asyncio.run(measure(server, central, Path(directory), ports))
        finally:
            central.destroy()
            server.stop()
    publish(f"The controller with {ports:,} Ports", found)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

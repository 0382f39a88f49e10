"""How long admission takes: a VM's creation through virtnet's webhook beside one that a webhook nods through.

    python tests/bench/admission.py [LEASES] [VMS]

Run it alone on the machine. The same API server asks both, by turns; each has its process and its HTTPS. The figures
are what the creator of the VM waits, the VM's own write included.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.figures import begin, publish
from tests.conftest import load_definitions
from tests.pinning.inputs import nad, pod, subnet, vm
from tests.safety.test_bounded_work import LARGE
from virtnet.api import AddressLease, AddressLeaseSpec, Holder, Owner, Subnet, SubnetRef
from virtnet.api.lease import lease_name
from virtnet.api.meta import Metadata
from virtnet.api.names import MOST_NICS, ROUTES
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import Rejected, Unavailable
from virtnet.kube.kinds import NADS, NAMESPACES, PODS, VMS, Kind
from virtnet.lab.control_plane import ControlPlane, free_port
from virtnet.lab.daemon import Daemon
from webhooks.manifests import configurations

LEASES = kinds.of(AddressLease)
MUTATING = Kind("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", namespaced=False)
BLUE = SubnetRef(kind="Subnet", namespace="pinned", name="blue")


@dataclass
class Figures:
    leases: int
    vms: int
    nod_p50_ms: float = 0
    nod_p99_ms: float = 0
    pin_p50_ms: float = 0
    pin_p99_ms: float = 0
    p50_ratio: float = 0
    p99_ratio: float = 0
    update_p50_ms: float = 0
    update_p99_ms: float = 0
    worst_ms: float = 0
    """The median of VMs with 32 NICs on the largest Subnet, each with addresses of both families."""
    worst_leases_ms: float = 0
    """As many AddressLeases as such a VM has, made at once by the same API server for a client that does nothing else."""
    flood_p50_ms: float = 0
    """A VM as before, while another namespace makes pods without end that are refused."""
    flood_p50_ratio: float = 0
    flood_per_s: float = 0
    flood_nod_p50_ratio: float = 0
    """The same while the other webhook refuses them, all at once."""
    flood_nod_per_s: float = 0
    start_s: float = 0
    rss_mib: int = 0


async def ready(port: int) -> None:
    for _ in range(1200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise TimeoutError(f"nobody serves on port {port}")


BOUND = {"status": {"phase": "Bound", "ownerUid": "00000000-0000-4000-8000-000000000000"}}
"""Else a namespace may hold 4,096 at most."""


def lease(address: str, owner: str) -> AddressLease:
    """Of a VM in ``pinned``."""
    holder = Holder(
        namespace="pinned",
        port=f"{owner}.blue",
        owner=Owner(kind="VirtualMachine", name=owner),
        network="blue",
    )
    spec = AddressLeaseSpec(address=address, subnet=BLUE, holder=holder)
    return AddressLease(metadata=Metadata(name=lease_name(address, BLUE)), spec=spec)


async def prepare(cluster: Cluster, leases: int) -> None:
    """A namespace for either webhook and one for the flood, a Subnet of 65,534 addresses, and leases of others in it.

    And the largest Subnet that the schema allows.
    """
    for name in ("nodded", "pinned", "flood"):
        await cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        await cluster.create(NADS, nad({"subnet": "blue"}, "blue-net"), name)
    blue = Subnet.parse({"metadata": {"name": "blue"}, "spec": {"cidrs": ["10.0.0.0/16"]}})
    await cluster.create(kinds.of(Subnet), blue.manifest(), "pinned")
    await cluster.create(kinds.of(Subnet), subnet("large", **LARGE), "pinned")
    await cluster.create(NADS, nad({"subnet": "large"}, "large-net"), "pinned")
    limit = asyncio.Semaphore(32)

    async def put(n: int) -> None:
        address = f"02:00:00:00:{n // 256:02x}:{n % 256:02x}" if n % 2 else f"10.0.{n // 2 // 250}.{n // 2 % 250 + 2}"
        body = lease(address, f"vm{n // 2}")
        async with limit:
            await cluster.create(LEASES, body.manifest())
            await cluster.patch(LEASES, body.name, BOUND, subresource="status")

    await asyncio.gather(*(put(n) for n in range(leases)))


async def register(cluster: Cluster, *, nodding: int, pinning: int, authority: bytes) -> None:
    only = {
        which: {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": names}]}
        for which, names in (("pinned", ["pinned", "flood"]), ("nodded", ["nodded"]))
    }
    real, _ = configurations(url=f"https://127.0.0.1:{pinning}", ca_bundle=authority)
    for webhook in real["webhooks"]:
        webhook["namespaceSelector"] = only["pinned"]
    await cluster.create(MUTATING, real)
    yardsticks = [
        {
            **one,
            "name": f"nod-{one['name']}",
            "namespaceSelector": only["nodded"],
            "clientConfig": {**one["clientConfig"], "url": f"https://127.0.0.1:{nodding}/"},
        }
        for one in real["webhooks"]
    ]
    await cluster.create(MUTATING, {**real, "metadata": {"name": "nod"}, "webhooks": yardsticks})
    while True:  # the API server has heard of the configuration
        made = await cluster.create(VMS, vm("probe"), "pinned", dry_run=True)
        if made["metadata"].get("annotations"):
            return
        await asyncio.sleep(0.1)


async def timed(call: Any) -> float:
    began = time.perf_counter()
    await call
    return (time.perf_counter() - began) * 1000


async def measure(cluster: Cluster, figures: Figures) -> None:
    times: dict[str, list[float]] = {"nodded": [], "pinned": [], "updated": []}
    warm_up = 20
    for n in range(figures.vms + warm_up):
        for namespace in ("nodded", "pinned"):
            times[namespace].append(await timed(cluster.create(VMS, vm(f"new{n}"), namespace)))
        bare = vm(f"new{n}")["spec"]  # without MACs, as `kubectl apply` sends it again
        times["updated"].append(await timed(cluster.patch(VMS, f"new{n}", {"spec": bare}, "pinned")))
    for namespace, name in (("nodded", "nod"), ("pinned", "pin"), ("updated", "update")):
        found = statistics.quantiles(times[namespace][warm_up:], n=100, method="inclusive")
        setattr(figures, f"{name}_p50_ms", round(found[49], 2))
        setattr(figures, f"{name}_p99_ms", round(found[98], 2))
    figures.p50_ratio = round(figures.pin_p50_ms / figures.nod_p50_ms, 2)
    figures.p99_ratio = round(figures.pin_p99_ms / figures.nod_p99_ms, 2)


async def measure_worst(cluster: Cluster, figures: Figures, rounds: int = 15) -> None:
    """The largest legal manifest, all but as large as the API server takes."""
    nics = tuple((f"n{n}", "large-net") for n in range(MOST_NICS))
    routes = json.dumps({name: [{"destination": f"192.168.{n}.0/24"} for n in range(20)] for name, _ in nics})
    annotations = {ROUTES: routes, "notes": "x" * 150_000}
    bodies = [vm(f"worst{n}", networks=nics, annotations=annotations) for n in range(rounds + 2)]
    times = [await timed(cluster.create(VMS, body, "pinned")) for body in bodies]
    figures.worst_ms = round(statistics.median(times[2:]), 1)
    alone = [await timed(asyncio.gather(*(cluster.create(LEASES, one) for one in of_one(n)))) for n in range(rounds)]
    figures.worst_leases_ms = round(statistics.median(alone), 1)


def of_one(number: int) -> list[dict[str, Any]]:
    """The leases of one such VM."""
    addresses = [
        address
        for nic in range(MOST_NICS)
        for address in (
            f"02:01:00:00:{number:02x}:{nic:02x}",
            f"10.201.{number}.{nic}",
            f"fd01::{number + 1:x}:{nic + 1:x}",
        )
    ]
    return [lease(address, f"large{number}").manifest() for address in addresses]


async def measure_flood(cluster: Cluster, figures: Figures, rounds: int = 200) -> None:
    """Beside it, the same flood refused by the webhook that only answers: what is left is the API server's own work."""
    before = [await timed(cluster.create(VMS, vm(f"calm{n}"), "pinned")) for n in range(rounds)]
    nod, figures.flood_nod_per_s = await flooded(cluster, "nodded", [vm(f"damp{n}") for n in range(rounds)])
    wet, figures.flood_per_s = await flooded(cluster, "flood", [vm(f"wet{n}") for n in range(rounds)])
    figures.flood_p50_ms = round(wet, 2)
    figures.flood_p50_ratio = round(wet / statistics.median(before), 2)
    figures.flood_nod_p50_ratio = round(nod / statistics.median(before), 2)


async def flooded(
    cluster: Cluster, namespace: str, vms: list[dict[str, Any]], flooders: int = 4
) -> tuple[float, float]:
    """How long a VM takes (p50, in ms) while pods are refused in another namespace, and how many of those a second.

    By as many clients as there are cores twice over; each makes its next pod as soon as the last is refused.
    """
    bad, refused = pod(",".join(["d"] * 2000), "bad"), 0

    async def flood() -> None:
        nonlocal refused
        while True:
            try:
                await cluster.create(PODS, bad, namespace)
            except (Rejected, Unavailable):
                refused += 1

    flooding = [asyncio.create_task(flood()) for _ in range(flooders)]
    began = time.perf_counter()
    took = [await timed(cluster.create(VMS, one, "pinned")) for one in vms]
    rate = round(refused / (time.perf_counter() - began), 1)
    for one in flooding:
        one.cancel()
    await asyncio.wait(flooding)
    return statistics.median(took), rate


def rss_mib(daemon: Daemon) -> int:
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


async def bench(server: ControlPlane, state: Path, figures: Figures) -> None:
    pair = server.authority.server("webhook", ["127.0.0.1"])
    ports = {"nod": free_port(), "webhook": free_port()}
    commands = {
        "nod": [str(Path(__file__).with_name("nod.py")), str(ports["nod"]), str(pair.certificate), str(pair.key)],
        "webhook": ["-m", "virtnet.cli.main", "webhook", "--port", str(ports["webhook"]), "--metrics-port", "0",
                    "--cert", str(pair.certificate), "--key", str(pair.key)],
    }  # fmt: skip
    daemons = {
        name: Daemon(name, [*server.prefix, sys.executable, *command], state, {"KUBECONFIG": str(server.kubeconfig)})
        for name, command in commands.items()
    }
    async with await Cluster.connect(str(server.kubeconfig)) as cluster:
        await prepare(cluster, figures.leases)
        began = time.monotonic()
        try:
            for name, daemon in daemons.items():
                daemon.start()
                await ready(ports[name])
            figures.start_s = round(time.monotonic() - began, 1)
            authority = server.authority.root.certificate.read_bytes()
            await register(cluster, nodding=ports["nod"], pinning=ports["webhook"], authority=authority)
            await measure(cluster, figures)
            await measure_worst(cluster, figures)
            await measure_flood(cluster, figures)
            figures.rss_mib = rss_mib(daemons["webhook"])
        finally:
            for daemon in daemons.values():
                daemon.stop()


def main(leases: int = 10_000, vms: int = 500) -> None:
    begin()
    figures = Figures(leases=leases, vms=vms)
    with tempfile.TemporaryDirectory() as directory:
        server = ControlPlane.local(Path(directory))
        server.start()
        try:
            asyncio.run(load_definitions(server))
            asyncio.run(bench(server, Path(directory), figures))
        finally:
            server.stop()
    publish(
        f"Admission of a VM with {leases:,} leases",
        {f"admission.{name}": value for name, value in asdict(figures).items()},
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

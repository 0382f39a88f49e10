"""How long admission takes: a VM's creation through virtnet's webhook beside one that a webhook nods through.

    python tests/bench/admission.py [LEASES] [VMS]

Run it alone on the machine. The same API server asks both, by turns; each has its process and its HTTPS. The figures
are what the creator of the VM waits, the VM's own write included.
"""

import asyncio
import json
import ssl
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from aiohttp import web

from tests.bench.figures import begin, publish
from tests.conftest import load_definitions
from tests.pinning.inputs import vm
from virtnet.api import AddressLease, AddressLeaseSpec, Holder, Owner, Subnet, SubnetRef
from virtnet.api.lease import lease_name
from virtnet.api.meta import Metadata
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.kinds import NADS, NAMESPACES, VMS, Kind
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
    start_s: float = 0
    rss_mib: int = 0


def nod(port: int, certificate: str, key: str) -> None:
    """The yardstick: a webhook that does nothing but answer."""

    async def answer(request: web.Request) -> web.Response:
        review = await request.json()
        response = {"uid": review["request"]["uid"], "allowed": True}
        return web.json_response({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    app = web.Application()
    app.add_routes([web.post("/", answer)])
    web.run_app(app, host="127.0.0.1", port=port, ssl_context=context, print=None, access_log=None)


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


async def prepare(cluster: Cluster, leases: int) -> None:
    """A namespace for either webhook, a Subnet of 65,534 addresses, and leases of others in it."""
    for name in ("nodded", "pinned"):
        await cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        nad = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition"}
        config = json.dumps({"type": "virtnet-cni", "subnet": "blue"})
        await cluster.create(NADS, {**nad, "metadata": {"name": "blue-net"}, "spec": {"config": config}}, name)
    blue = Subnet.parse({"metadata": {"name": "blue"}, "spec": {"cidrs": ["10.0.0.0/16"]}})
    await cluster.create(kinds.of(Subnet), blue.manifest(), "pinned")
    limit = asyncio.Semaphore(32)

    async def lease(n: int) -> None:
        owner = Owner(kind="VirtualMachine", name=f"vm{n // 2}")
        address = f"02:00:00:00:{n // 256:02x}:{n % 256:02x}" if n % 2 else f"10.0.{n // 2 // 250}.{n // 2 % 250 + 2}"
        body = AddressLease(
            metadata=Metadata(name=lease_name(address, BLUE)),
            spec=AddressLeaseSpec(
                address=address,
                subnet=BLUE,
                holder=Holder(namespace="pinned", port=f"vm{n // 2}.blue", owner=owner, network="blue"),
            ),
        )
        async with limit:
            await cluster.create(LEASES, body.manifest())

    await asyncio.gather(*(lease(n) for n in range(leases)))


async def register(cluster: Cluster, *, nodding: int, pinning: int, authority: bytes) -> None:
    only = {"pinned": {"matchLabels": {"kubernetes.io/metadata.name": "pinned"}},
            "nodded": {"matchLabels": {"kubernetes.io/metadata.name": "nodded"}}}  # fmt: skip
    real, _ = configurations(url=f"https://127.0.0.1:{pinning}", ca_bundle=authority)
    for webhook in real["webhooks"]:
        webhook["namespaceSelector"] = only["pinned"]
    await cluster.create(MUTATING, real)
    yardstick = {**real["webhooks"][0], "name": "nod.virtnet.dev", "namespaceSelector": only["nodded"]}
    yardstick["clientConfig"] = {**yardstick["clientConfig"], "url": f"https://127.0.0.1:{nodding}/"}
    await cluster.create(MUTATING, {**real, "metadata": {"name": "nod"}, "webhooks": [yardstick]})
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


def rss_mib(daemon: Daemon) -> int:
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


async def bench(server: ControlPlane, state: Path, figures: Figures) -> None:
    pair = server.authority.server("webhook", ["127.0.0.1"])
    ports = {"nod": free_port(), "webhook": free_port()}
    commands = {
        "nod": [__file__, "nod", str(ports["nod"]), str(pair.certificate), str(pair.key)],
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
            figures.rss_mib = rss_mib(daemons["webhook"])
        finally:
            for daemon in daemons.values():
                daemon.stop()


def main(leases: int = 10_000, vms: int = 500) -> None:
    begin()
    figures = Figures(leases=leases, vms=vms)
    with tempfile.TemporaryDirectory() as folder:
        server = ControlPlane.local(Path(folder))
        server.start()
        try:
            asyncio.run(load_definitions(server))
            asyncio.run(bench(server, Path(folder), figures))
        finally:
            server.stop()
    publish(
        f"Admission of a VM with {leases:,} leases",
        {f"admission.{name}": value for name, value in asdict(figures).items()},
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["nod"]:
        nod(int(sys.argv[2]), *sys.argv[3:])
    else:
        main(*map(int, sys.argv[1:]))

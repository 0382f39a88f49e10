"""Two replicas of the real webhook process, and an API server that asks them: VMs named ``…-b`` ask the second."""

import asyncio
import ssl
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from tests.conftest import running_server
from virtnet.api import AddressLease, Subnet
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.kinds import NADS, NAMESPACES, VMS, Kind
from virtnet.lab.certificates import Authority
from virtnet.lab.control_plane import ControlPlane, free_port
from virtnet.lab.daemon import Daemon
from webhooks.manifests import configurations

LEASES = kinds.of(AddressLease)
WHICH = {"a": "!object.metadata.name.endsWith('-b')", "b": "object.metadata.name.endsWith('-b')"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "admission" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.system)


@dataclass(frozen=True)
class Replica:
    """One webhook process."""

    daemon: Daemon
    port: int
    authority: Authority

    def start(self) -> None:
        self.daemon.start()
        end = time.monotonic() + 30
        while not asyncio.run(self.answers()):
            assert time.monotonic() < end, self.daemon.last_words()
            assert self.daemon.pid, self.daemon.last_words()
            time.sleep(0.05)

    async def answers(self) -> bool:
        context = ssl.create_default_context(cafile=str(self.authority.root.certificate))
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        except OSError:
            return False
        writer.close()
        return True


@dataclass(frozen=True)
class Admission:
    server: ControlPlane
    replicas: dict[str, Replica]


async def register(server: ControlPlane, replicas: dict[str, Replica]) -> None:
    bundle = server.authority.root.certificate.read_bytes()
    async with await Cluster.connect(str(server.kubeconfig)) as cluster:
        for name, replica in replicas.items():
            for body in configurations(url=f"https://127.0.0.1:{replica.port}", ca_bundle=bundle):
                body["metadata"]["name"] = f"virtnet-{name}"
                for webhook in body["webhooks"]:
                    if webhook["name"].startswith("check-subnet"):
                        continue
                    webhook["matchConditions"].append({"name": "which", "expression": WHICH[name]})
                plural = f"{body['kind'].lower()}s"
                kind = Kind("admissionregistration.k8s.io", "v1", plural, namespaced=False)
                await cluster.create(kind, body)


@pytest.fixture(scope="session")
def admission(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admission]:
    state = tmp_path_factory.mktemp("admission")
    with running_server(state) as server:
        pair = server.authority.server("webhook", ["127.0.0.1"])
        replicas = {}
        for name in ("a", "b"):
            port = free_port()
            command = [sys.executable, "-m", "virtnet.cli.main", "webhook", "--port", str(port), "--metrics-port", "0",
                       "--cert", str(pair.certificate), "--key", str(pair.key)]  # fmt: skip
            daemon = Daemon(f"webhook-{name}", command, state, {"KUBECONFIG": str(server.kubeconfig)})
            replicas[name] = Replica(daemon, port, server.authority)
        try:
            for replica in replicas.values():
                replica.start()
            asyncio.run(register(server, replicas))
            yield Admission(server, replicas)
        finally:
            for replica in replicas.values():
                replica.daemon.stop()


@dataclass(frozen=True)
class Tenant:
    """A namespace with a Subnet and a NAD, and what tests do in it."""

    cluster: Cluster
    namespace: str

    async def subnet(self, name: str = "blue", cidr: str = "10.0.0.0/24", **spec: Any) -> None:
        vpc = {"kind": "Vpc", "name": name}
        body = {"apiVersion": "virtnet.dev/v1alpha1", "kind": "Subnet", "metadata": {"name": name}}
        await self.cluster.create(
            kinds.of(Subnet), {**body, "spec": {"vpc": vpc, "cidr": cidr, **spec}}, self.namespace
        )

    async def nad(self, name: str, config: str) -> None:
        body = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": name}}
        await self.cluster.create(NADS, {**body, "spec": {"config": config}}, self.namespace)

    async def create(self, vm: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        return await self.cluster.create(VMS, vm, self.namespace, dry_run=dry_run)

    async def leases(self) -> dict[str, str]:
        """Address -> port, of this namespace."""
        items, _ = await self.cluster.list(LEASES)
        return {
            item["spec"]["address"]: item["spec"]["holder"]["port"]
            for item in items
            if item["spec"]["holder"]["namespace"] == self.namespace
        }


@pytest.fixture
async def tenant(admission: Admission) -> AsyncIterator[Tenant]:
    name = f"t{uuid4().hex[:8]}"
    async with await Cluster.connect(str(admission.server.kubeconfig)) as cluster:
        await cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        found = Tenant(cluster, name)
        await found.subnet()
        await found.nad("blue-net", '{"cniVersion":"1.1.0","name":"blue-net","type":"virtnet-cni","subnet":"blue"}')
        await found.nad("foreign", '{"cniVersion":"1.1.0","name":"foreign","type":"bridge"}')
        yield found


def vm(
    name: str = "db",
    *,
    networks: tuple[tuple[str, str], ...] = (("blue", "blue-net"),),
    macs: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    template: dict[str, str] | None = None,
) -> dict[str, Any]:
    """A VM manifest as people write it. ``networks``: name and NAD of each NIC."""
    interfaces = [
        {"name": n, "bridge": {}, **({"macAddress": macs[n]} if macs and n in macs else {})} for n, _ in networks
    ]
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, **({"annotations": annotations} if annotations else {})},
        "spec": {
            "runStrategy": "Halted",
            "template": {
                "metadata": {"annotations": template} if template else {},
                "spec": {
                    "domain": {"devices": {"interfaces": interfaces}, "memory": {"guest": "128Mi"}},
                    "networks": [{"name": n, "multus": {"networkName": nad}} for n, nad in networks],
                },
            },
        },
    }

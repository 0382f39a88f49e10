"""Two replicas of the real webhook process, and an API server that asks them: objects named ``…-b`` ask the second.

They have the rights that manifests/rbac gives to their service account, and no others.
"""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from tests.conftest import REPOSITORY, running_server
from virtnet.api import AddressLease, ClusterSubnet, Subnet
from virtnet.api.names import PINNED
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.kinds import NADS, NAMESPACES, PODS, VMS, Kind
from virtnet.lab import identities, manifests
from virtnet.lab.certificates import Authority
from virtnet.lab.control_plane import ControlPlane, free_port
from virtnet.lab.daemon import Daemon
from webhooks.manifests import configurations

LEASES = kinds.of(AddressLease)
ACCOUNT = "virtnet-webhook"
SECOND = "has(object.metadata.name) && object.metadata.name.endsWith('-b')"
WHICH = {"a": f"!({SECOND})", "b": SECOND}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"admission", "own_admission"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.system)


@dataclass(frozen=True)
class Replica:
    """One webhook process."""

    daemon: Daemon
    port: int
    authority: Authority

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority.root.certificate))

    async def start(self) -> None:
        """To be called in the main thread: the process dies with the thread that starts it."""
        self.daemon.start()
        async with asyncio.timeout(30):
            while not await self.ready():
                assert self.daemon.pid, self.daemon.last_words()
                await asyncio.sleep(0.05)

    async def ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/readyz", ssl=self.context) as got:
                return got.status == 200
        except aiohttp.ClientError:
            return False

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def post(self, path: str, review: Any) -> tuple[int, Any]:
        """Status and JSON of what it answers to a review, or to whatever is sent instead of one."""
        how = {"data": review} if isinstance(review, bytes) else {"json": review}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/{path}", ssl=self.context, **how) as got,
        ):
            return got.status, await got.json() if got.content_type == "application/json" else await got.text()


@dataclass(frozen=True)
class Admission:
    server: ControlPlane
    replicas: dict[str, Replica]


def replica(server: ControlPlane, state: Path, name: str, *options: str) -> Replica:
    """A process that is not started yet."""
    pair = server.authority.server("webhook", ["127.0.0.1"])
    port = free_port()
    flags = ["--port", str(port), "--metrics-port", "0", "--cert", str(pair.certificate), "--key", str(pair.key)]
    command = [*server.prefix, sys.executable, "-m", "virtnet.cli.main", "webhook", *flags, *options]
    kubeconfig = str(server.kubeconfig_of(ACCOUNT))
    return Replica(Daemon(f"webhook-{name}", command, state, {"KUBECONFIG": kubeconfig}), port, server.authority)


async def give_rights(server: ControlPlane) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "virtnet"}}
    directory = REPOSITORY / "manifests" / "rbac"
    rights = manifests.read(directory / "webhook.yaml", directory / "flow-schema.yaml")
    async with await Cluster.connect(str(server.kubeconfig)) as cluster:
        await manifests.apply(cluster, [namespace, *rights])


async def register(server: ControlPlane, replicas: dict[str, Replica]) -> None:
    """As a cluster has it, but that the objects' names say who is asked."""
    bundle = server.authority.root.certificate.read_bytes()
    async with await Cluster.connect(str(server.kubeconfig)) as cluster:
        for name, one in replicas.items():
            for body in configurations(url=one.url, ca_bundle=bundle):
                body["metadata"]["name"] = f"virtnet-{name}"
                if body["kind"].startswith("Mutating"):
                    for webhook in body["webhooks"]:
                        webhook["matchConditions"].append({"name": "which", "expression": WHICH[name]})
                kind = Kind("admissionregistration.k8s.io", "v1", f"{body['kind'].lower()}s", namespaced=False)
                await cluster.create(kind, body)


@contextmanager
def running_admission(state: Path) -> Iterator[Admission]:
    with running_server(state) as server:
        asyncio.run(give_rights(server))
        identities.write_kubeconfig(server, ACCOUNT, identities.token(server, ACCOUNT))
        replicas = {name: replica(server, state, name) for name in ("a", "b")}
        try:
            for one in replicas.values():
                asyncio.run(one.start())
            asyncio.run(register(server, replicas))
            yield Admission(server, replicas)
        finally:
            for one in replicas.values():
                one.daemon.stop()


@pytest.fixture(scope="session")
def admission(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admission]:
    with running_admission(tmp_path_factory.mktemp("admission")) as found:
        yield found


@dataclass(frozen=True)
class Tenant:
    """A namespace with a Subnet and a NAD, and what tests do in it."""

    cluster: Cluster
    namespace: str

    async def subnet(self, name: str = "blue", cidr: str = "10.0.0.0/24", **spec: Any) -> dict[str, Any]:
        """``cidr``: one network, or one of each family with a space between."""
        vpc = {"kind": "Vpc", "name": name}
        body = {"apiVersion": "virtnet.dev/v1alpha1", "kind": "Subnet", "metadata": {"name": name}}
        return await self.cluster.create(
            kinds.of(Subnet), {**body, "spec": {"vpc": vpc, "cidrs": cidr.split(), **spec}}, self.namespace
        )

    async def cluster_subnet(self, cidr: str, **spec: Any) -> str:
        """Its name. It lies in a ClusterVpc of its own."""
        name = f"lan-{uuid4().hex[:8]}"
        body = {"apiVersion": "virtnet.dev/v1alpha1", "kind": "ClusterSubnet", "metadata": {"name": name}}
        vpc = {"kind": "ClusterVpc", "name": name}
        await self.cluster.create(
            kinds.of(ClusterSubnet), {**body, "spec": {"cidrs": cidr.split(), "vpc": vpc, **spec}}
        )
        return name

    async def nad(self, name: str, config: str) -> None:
        body = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": name}}
        await self.cluster.create(NADS, {**body, "spec": {"config": config}}, self.namespace)

    async def create(self, vm: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        return await self.cluster.create(VMS, vm, self.namespace, dry_run=dry_run)

    async def pod(self, pod: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        return await self.cluster.create(PODS, pod, self.namespace, dry_run=dry_run)

    async def leases(self) -> dict[str, str]:
        """Address -> port, of this namespace."""
        items, _ = await self.cluster.list(LEASES)
        return {
            item["spec"]["address"]: item["spec"]["holder"]["port"]
            for item in items
            if item["spec"]["holder"]["namespace"] == self.namespace
        }


async def settle(cluster: Cluster) -> Tenant:
    name = f"t{uuid4().hex[:8]}"
    await cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    found = Tenant(cluster, name)
    await found.subnet()
    await found.nad("blue-net", '{"cniVersion":"1.1.0","name":"blue-net","type":"virtnet-cni","subnet":"blue"}')
    await found.nad("foreign", '{"cniVersion":"1.1.0","name":"foreign","type":"bridge"}')
    return found


@pytest.fixture
async def tenant(admission: Admission) -> AsyncIterator[Tenant]:
    async with await Cluster.connect(str(admission.server.kubeconfig)) as cluster:
        yield await settle(cluster)


def pinned(body: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Network name -> addresses, as a VM's record says."""
    record = json.loads(body["metadata"]["annotations"][PINNED])
    return {network: tuple(nic["addresses"]) for network, nic in record["nics"].items()}


def macs(body: dict[str, Any]) -> dict[str, str]:
    """Network name -> MAC, as a VM's interfaces say."""
    devices = body["spec"]["template"]["spec"]["domain"]["devices"]
    return {one["name"]: one.get("macAddress", "") for one in devices["interfaces"]}

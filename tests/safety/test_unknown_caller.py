"""Somebody who is not the API server reaches the webhook: with a client CA configured, nothing comes of it.

The attack is an AdmissionReview of a VM that nobody creates: an answer leases addresses of whatever Subnet it names.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import running_server
from tests.pinning.conftest import (
    ACCOUNT,
    LEASES,
    Replica,
    Tenant,
    give_rights,
    pinned,
    register,
    replica,
    settle,
)
from tests.pinning.inputs import vm
from virtnet import connections
from virtnet.kube.client import Cluster
from virtnet.lab import identities
from virtnet.lab.certificates import Authority
from virtnet.lab.control_plane import ControlPlane, free_port

pytestmark = pytest.mark.system


@dataclass(frozen=True)
class Guarded:
    """A webhook that answers the API server alone."""

    server: ControlPlane
    webhook: Replica
    metrics: str

    async def probe(self) -> int:
        async with aiohttp.ClientSession() as session, session.get(f"{self.metrics}/readyz") as got:
            return got.status

    async def ready(self) -> None:
        async with asyncio.timeout(30):
            while True:
                try:
                    if await self.probe() == 200:
                        return
                except aiohttp.ClientError:
                    assert self.webhook.daemon.pid, self.webhook.daemon.last_words()
                await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    state, port = tmp_path_factory.mktemp("unknown-caller"), free_port()
    with running_server(state) as server:
        asyncio.run(give_rights(server))
        identities.write_kubeconfig(server, ACCOUNT, identities.token(server, ACCOUNT))
        authority = str(server.authority.root.certificate)
        # The last flag of a name counts.
        flags = ("--client-ca", authority, "--metrics-address", "127.0.0.1", "--metrics-port", str(port))
        found = Guarded(server, replica(server, state, "a", *flags), f"http://127.0.0.1:{port}")
        found.webhook.daemon.start()
        try:
            asyncio.run(found.ready())
            asyncio.run(register(server, {"a": found.webhook}))
            yield found
        finally:
            found.webhook.daemon.stop()


@pytest.fixture
async def tenant(guarded: Guarded) -> AsyncIterator[Tenant]:
    async with await Cluster.connect(str(guarded.server.kubeconfig)) as cluster:
        yield await settle(cluster)


def review(namespace: str, *, dry_run: bool = False, manifest: dict[str, Any] | None = None) -> dict[str, Any]:
    """As the API server would send it."""
    manifest = manifest or vm("ghost")
    manifest["metadata"]["namespace"] = namespace
    kind = {"group": "kubevirt.io", "version": "v1"}
    request = {
        "uid": "7",
        "kind": {**kind, "kind": "VirtualMachine"},
        "resource": {**kind, "resource": "virtualmachines"},
        "name": "ghost",
        "namespace": namespace,
        "operation": "CREATE",
        "userInfo": {"username": "nobody"},
        "object": manifest,
        "oldObject": None,
        "dryRun": dry_run,
        "options": {},
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def nobody(guarded: Guarded, state: Path) -> ssl.SSLContext:
    return guarded.webhook.context


def stranger(guarded: Guarded, state: Path) -> ssl.SSLContext:
    """Has a certificate, of an authority of its own."""
    context, own = guarded.webhook.context, Authority(state / "pki").client("kube-apiserver")
    context.load_cert_chain(own.certificate, own.key)
    return context


def server_itself(guarded: Guarded, state: Path) -> ssl.SSLContext:
    """A server's certificate of the right authority is no client's."""
    context, own = guarded.webhook.context, guarded.server.authority.server("webhook", ["127.0.0.1"])
    context.load_cert_chain(own.certificate, own.key)
    return context


async def post(url: str, body: dict[str, Any], context: ssl.SSLContext) -> Any:
    async with aiohttp.ClientSession() as session, session.post(url, json=body, ssl=context) as got:
        return await got.json()


@pytest.mark.parametrize("who", [nobody, stranger, server_itself])
@pytest.mark.parametrize("dry_run", [False, True])
async def test_who_has_no_certificate_of_the_api_servers_ca_changes_nothing(
    guarded: Guarded,
    tenant: Tenant,
    tmp_path: Path,
    who: Callable[[Guarded, Path], ssl.SSLContext],
    dry_run: bool,
) -> None:
    before, _ = await tenant.cluster.list(LEASES)
    with pytest.raises(aiohttp.ClientError):
        await post(f"{guarded.webhook.url}/pin-vm", review(tenant.namespace, dry_run=dry_run), who(guarded, tmp_path))
    after, _ = await tenant.cluster.list(LEASES)
    assert after == before


async def test_the_api_server_is_answered(tenant: Tenant) -> None:
    made = await tenant.create(vm("db"))
    assert pinned(made)["blue"]
    assert set(await tenant.leases()) >= set(pinned(made)["blue"])


async def test_the_kubelet_needs_no_certificate(guarded: Guarded) -> None:
    """And can ask for nothing but how the process is."""
    assert await guarded.probe() == 200
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{guarded.metrics}/pin-vm", json={}) as got:
            assert got.status == 404
        async with session.get(f"{guarded.metrics}/metrics") as got:
            assert "virtnet_webhook_authenticates_callers 1.0" in await got.text()


async def test_a_handshake_that_is_never_ended_is(guarded: Guarded, tenant: Tenant) -> None:
    """Connections that do nothing are ended, and hold nobody up meanwhile."""
    held = [await asyncio.open_connection("127.0.0.1", guarded.webhook.port) for _ in range(50)]
    assert pinned(await tenant.create(vm("quick")))["blue"]
    async with asyncio.timeout(connections.HANDSHAKE_SECONDS + 20):
        for reader, writer in held:
            assert await reader.read() == b""
            writer.close()


def files(guarded: Guarded) -> int:
    """How many the webhook has open."""
    return len(list(Path(f"/proc/{guarded.webhook.daemon.pid}/fd").iterdir()))


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "half a greeting"])
async def test_a_thousand_that_end_no_handshake_are_nobodys_hindrance(
    guarded: Guarded, tenant: Tenant, sent: bytes
) -> None:
    """Nor do they take more than a part of the process' files and memory."""
    before = files(guarded)
    held, most = [], 0
    for number in range(1000):
        _, writer = await asyncio.open_connection("127.0.0.1", guarded.webhook.port)
        writer.write(sent)
        held.append(writer)
        if number % 50 == 0:
            most = max(most, files(guarded) - before)
    assert pinned(await tenant.create(vm("quick")))["blue"]
    most = max(most, files(guarded) - before)
    assert 50 < most < connections.MOST_HANDSHAKES + 6 * connections.MOST_ACCEPTED
    for writer in held:
        writer.transport.abort()


@pytest.fixture
def open_to_all(guarded: Guarded, tmp_path: Path) -> Iterator[Replica]:
    """A webhook without a client CA."""
    found = replica(guarded.server, tmp_path, "open")
    asyncio.run(found.start())
    yield found
    found.daemon.stop()


async def test_without_a_client_ca_it_says_so(open_to_all: Replica) -> None:
    assert "name its CA with --client-ca" in open_to_all.daemon.log.read_text()


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"POST /pin-vm HTTP/1.1\r\n", id="half a header"),
        pytest.param(b"POST /pin-vm HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", id="half a body"),
        pytest.param(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\nPOST /pin", id="one request, and half of another"),
    ],
)
async def test_a_request_that_is_never_ended_is(open_to_all: Replica, sent: bytes) -> None:
    """On the plain port, too: tests/health."""
    reader, writer = await asyncio.open_connection("127.0.0.1", open_to_all.port, ssl=open_to_all.context)
    writer.write(sent)
    await writer.drain()
    async with asyncio.timeout(connections.IDLE_SECONDS + connections.SWEEP_SECONDS + 30):
        try:
            while await reader.read(4096):
                pass
        except (ConnectionError, ssl.SSLError):
            pass
    writer.close()

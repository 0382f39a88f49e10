"""What the kubelet and Prometheus are answered, and what becomes of connections that ask nothing."""

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Gauge

from virtnet import connections, health
from virtnet.health import serving
from virtnet.lab.control_plane import free_port


class Served:
    def __init__(self) -> None:
        self.port = free_port()
        self.obstacles: list[str] = []
        self.registry = CollectorRegistry()
        Gauge("virtnet_example", "An example.", registry=self.registry).set(7)

    async def get(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.port}/{path}") as got:
            return got.status, await got.text()

    async def send(self, data: bytes) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        return reader


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    found = Served()
    async with serving("127.0.0.1", found.port, found.registry, lambda: found.obstacles):
        yield found


async def test_ready_is_who_has_no_obstacle_and_alive_who_answers(served: Served) -> None:
    assert await served.get("readyz") == (200, "ok\n")
    served.obstacles = ["OVN does not answer", "nor does the API server"]
    assert await served.get("readyz") == (503, "OVN does not answer\nnor does the API server\n")
    assert await served.get("livez") == (200, "ok\n")
    assert "virtnet_example 7.0" in (await served.get("metrics"))[1]
    assert (await served.get("pin-vm"))[0] == 404


@pytest.mark.system  # the server's own time-outs pass
@pytest.mark.parametrize("sent", [b"", b"GET /livez HT", b"POST /livez HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"])
async def test_a_request_that_is_never_ended_is(served: Served, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    for name in ("FIRST_REQUEST_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(connections, name, 0.1)
    monkeypatch.setattr(connections, "SWEEP_SECONDS", 0.05)
    reader = await served.send(sent)
    async with asyncio.timeout(connections.HANDSHAKE_SECONDS + 20):
        while await reader.read(4096):
            pass


async def test_there_is_an_end_to_how_many_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "MOST_CONNECTIONS", 3)
    served = Served()
    async with serving("127.0.0.1", served.port, served.registry, list), asyncio.timeout(20):
        held = [await served.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(3)]
        for reader in held:
            assert b"200 OK" in await reader.readline()
        assert await (await served.send(b"")).read() == b""


async def test_those_that_ask_nothing_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "MOST_CONNECTIONS", 3)
    served = Served()
    async with serving("127.0.0.1", served.port, served.registry, list), asyncio.timeout(20):
        first, *_ = [await served.send(b"") for _ in range(3)]
        assert await served.get("readyz") == (200, "ok\n")
        assert await first.read() == b""


async def test_a_taken_port_stops_nobody() -> None:
    served = Served()
    with socket.create_server(("127.0.0.1", served.port)):
        async with serving("127.0.0.1", served.port, served.registry, list):
            pass

"""An API server that takes its time with one write: whoever writes OVN does not wait for it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.bench.api_server import ApiServer
from tests.bench.cluster import Guest, Move, Size, chassis_of, fill
from virtnet.controllers.controller import Controller
from virtnet.controllers.metrics import Metrics
from virtnet.handoff.facts import Binding
from virtnet.handoff.options import ChassisOptions
from virtnet.kube.client import Cluster
from virtnet.lab.control_plane import free_port
from virtnet.ovn.fake import FakeDatabase, FakeNorthbound
from virtnet.topology.chassis import read_chassis
from virtnet.topology.names import port_key

SIZE = Size(4, 2)


class SlowServer(ApiServer):
    """Holds back the answer to every PATCH of one path."""

    def __init__(self, held: str) -> None:
        super().__init__()
        self.held = held
        self.came, self.release = asyncio.Event(), asyncio.Event()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.method == "PATCH" and self.held in request.path:
            self.came.set()
            await self.release.wait()
        return await super()._answer(request)


class Bindings:
    """The southbound database, as far as the controller reads it."""

    connected = True
    obstacle = ""

    def __init__(self) -> None:
        self.chassis = {guest.port: chassis_of(guest.node) for guest in guests()}
        self.tell: Callable[[Iterable[str]], None] = lambda _: None

    def ports(self) -> tuple[str, ...]:
        return tuple(self.chassis)

    def binding(self, port: str) -> Binding:
        return Binding(chassis=self.chassis[port], up=True)

    def tunnel_keys(self, port: str) -> tuple[int, int]:
        return 1, 1 + list(self.chassis).index(port)

    def on_change(self, callback: Callable[[Iterable[str]], None]) -> None:
        self.tell = callback

    def tunnel_addresses(self) -> dict[str, frozenset[str]]:
        return {chassis_of(guest.node): frozenset() for guest in guests()}

    def on_chassis_change(self, callback: Callable[[], None]) -> None:
        """None comes or goes."""

    def let_go(self, port: str) -> None:
        self.chassis[port] = ""
        self.tell([port])


def guests() -> list[Guest]:
    return [Guest(SIZE, number) for number in range(SIZE.ports)]


class Ports:
    """What the northbound database says of ports."""

    def __init__(self, northbound: FakeNorthbound) -> None:
        self._northbound = northbound
        self._news = asyncio.Event()
        northbound.on_change(lambda _: self._news.set())

    def options(self, port: str) -> ChassisOptions:
        rows = self._northbound.observed([port_key(port)])
        return read_chassis(rows[0], ChassisOptions) if rows else ChassisOptions()

    async def until(self, port: str, holds: Callable[[ChassisOptions], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds(self.options(port)):
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def controlled(server: ApiServer, bindings: Bindings, directory: Path) -> AsyncIterator[Ports]:
    """A controller that leads, and what it writes."""
    database = FakeDatabase()
    kubeconfig = directory / "kubeconfig"
    async with server.serving(free_port()) as text:
        kubeconfig.write_text(text)
        async with await Cluster.connect(str(kubeconfig)) as cluster:
            northbound = FakeNorthbound(database)
            controller = Controller(cluster, northbound, bindings, Metrics())  # type: ignore[arg-type]  # in memory
            leading = asyncio.create_task(controller.run())
            try:
                yield Ports(northbound)
            finally:
                leading.cancel()
                await asyncio.wait({leading})


@pytest.mark.parametrize("held", ["nodenetworks/node0", f"ports/{Guest(SIZE, 0).port.partition('/')[2]}"])
async def test_a_handoff_is_committed_while_the_api_server_holds_back_an_answer(held: str, tmp_path: Path) -> None:
    server, bindings = SlowServer(held), Bindings()
    fill(server, SIZE)
    moves = [Move(guest) for guest in guests()[:2]]
    for move in moves:
        move.begin(server)
    other = moves[1]
    async with controlled(server, bindings, tmp_path) as ports:
        for move in moves:
            await ports.until(move.guest.port, lambda options: options.journal.get("state") == "Armed")
        async with asyncio.timeout(60):
            await server.came.wait()
        other.arrive(server)
        await ports.until(other.guest.port, lambda options: options.journal.get("state") == "Releasing")
        bindings.let_go(other.guest.port)
        await ports.until(other.guest.port, lambda options: options.requested == (chassis_of(other.target),))
        assert not server.release.is_set(), "the answer is still held back"
        server.release.set()

"""What the node daemon does first, whatever becomes of its requests to the API server."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from virtnet.api import NodeHandoff, NodeNetwork
from virtnet.kube.backoff import LONGEST_PAUSE, Backoff
from virtnet.kube.client import Cluster
from virtnet.node import daemon
from virtnet.node.attach import Attacher
from virtnet.node.devices.switch import FastSwitch
from virtnet.node.devices.watch import Devices
from virtnet.node.guest_addresses import GuestAddresses
from virtnet.node.handoff.announcements import Announcer
from virtnet.node.handoff.gates import Gates
from virtnet.node.handoff.keys import HandoffKeys
from virtnet.node.handoff.node_handoffs import NodeHandoffs
from virtnet.node.handoff.ways_out import WaysOut
from virtnet.node.journal import Journal
from virtnet.node.pods import ClusterPods
from virtnet.node.publish import OwnNodeNetwork
from virtnet.node.tunnel import TunnelAddress
from virtnet.ovn.switch_database import SwitchDatabase
from virtnet.ovn.vswitch import VSwitch

HERE = "/proc/self/ns/net"
CREATE, LIST, GET = "POST nodenetworks", "GET nodenetworks", "GET n1"
DEFINITION = "GET nodenetworks.virtnet.dev"

Answer = Callable[[], Awaitable[web.Response]]


async def refuse() -> web.Response:
    """As a proxy does whose API server is away."""
    return web.json_response({"message": "connection refused"}, status=503)


def answer(body: dict[str, Any], status: int = 200) -> Answer:
    async def given() -> web.Response:
        return web.json_response(body, status=status)

    return given


class ApiServer:
    """What stands where the API server does: it refuses whatever a test gives it no answer to, and counts it all."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.url = ""
        self.over = asyncio.Event()
        self._requests: Counter[str] = Counter()
        self._news = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        what = f"{request.method} {request.path.rpartition('/')[2]}"
        async with self._news:
            self._requests[what] += 1
            self._news.notify_all()
        return await self.answers.get(what, refuse)()

    async def hang(self) -> web.Response:
        """Give no answer while the test lasts."""
        await self.over.wait()
        return await refuse()

    async def had(self, what: str, times: int) -> None:
        """Wait for so many requests."""
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(lambda: self._requests[what] >= times)


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    found, app = ApiServer(), web.Application()
    app.router.add_route("*", "/{path:.*}", found.handle)
    async with TestServer(app) as listening:
        found.url = str(listening.make_url("/")).rstrip("/")
        yield found
        found.over.set()


class NoSwitch(SwitchDatabase):
    """Open vSwitch as it is before it has ever answered."""

    up = False


def kubeconfig(server: ApiServer, directory: Path) -> str:
    config = {
        "clusters": [{"name": "test", "cluster": {"server": server.url}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "users": [{"name": "test", "user": {"token": "test"}}],
        "current-context": "test",
    }
    directory.mkdir(exist_ok=True)
    path = directory / "kubeconfig"
    path.write_text(json.dumps(config))
    return str(path)


@asynccontextmanager
async def own_of(server: ApiServer, directory: Path, gates: Gates | None = None) -> AsyncIterator[OwnNodeNetwork]:
    """The daemon's own parts, on a node without a switch and without NICs."""
    gates, vswitch, journal = (
        gates or Gates(HERE, HandoffKeys.generate(), str),
        VSwitch(NoSwitch(), "br-int"),
        Journal(directory / "attachments"),
    )
    settings = daemon.NodeSettings(node="n1", state_dir=directory)
    async with await Cluster.connect(kubeconfig(server, directory)) as cluster:
        parts = daemon._parts(settings, vswitch, journal, ClusterPods(cluster), gates)
        attacher = Attacher(parts)
        yield OwnNodeNetwork(
            cluster,
            "n1",
            attacher,
            vswitch,
            assignments=parts.assignments,
            handoffs=NodeHandoffs(attacher, gates, Announcer(journal, WaysOut(HERE, vswitch, None, attacher.uplink))),
            tunnel=TunnelAddress(cluster, "n1", vswitch),
            router_messages=parts.router_messages,
            underlays=parts.underlays,
            guest_addresses=GuestAddresses(HERE, journal, attacher.hook),
            devices=Devices(HERE),
            dpdk=FastSwitch(vswitch).dpdk,
            ovn_run_dir=directory,
        )
    journal.close()


@asynccontextmanager
async def running(*work: Awaitable[None]) -> AsyncIterator[None]:
    """What goes on beside the test, and has not ended at its end."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        yield
        assert not [task for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


class WatchedGates(Gates):
    """Those of the node, which say that they have been told of handoffs."""

    def __init__(self) -> None:
        super().__init__(HERE, HandoffKeys.generate(), str)
        self.followed = asyncio.Event()

    async def follow(self, handoffs: Mapping[str, NodeHandoff]) -> None:
        await super().follow(handoffs)
        self.followed.set()


async def test_a_gate_does_not_wait_for_an_api_server_that_hangs(server: ApiServer, tmp_path: Path) -> None:
    """Another guest leaves at the same time, for which the API server has to be asked once more."""
    server.answers[GET] = server.hang
    gates = WatchedGates()
    async with own_of(server, tmp_path, gates) as own:
        own._known = NodeNetwork.parse(
            {
                "metadata": {"name": "n1"},
                "spec": {
                    "handoffs": {
                        "demo/leaves": {"migration": "m1", "role": "Source", "pod": "p", "releaseRequested": True},
                        "demo/comes": {"migration": "m2", "role": "Target"},
                    }
                },
            }
        )
        async with running(own._once()):
            await server.had(GET, 1)
            assert gates.followed.is_set()


async def test_an_api_server_that_comes_back_does_not_get_the_status_of_all_nodes_at_once(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[list[float]] = []
    for name in ("one", "another"):
        rests: list[float] = []
        async with own_of(server, tmp_path / name) as own:

            async def rest(seconds: float, own: OwnNodeNetwork = own, rests: list[float] = rests) -> None:
                rests.append(seconds)
                own._look.set()

            monkeypatch.setattr(own, "_rest", rest)
            own._look.set()
            async with running(own._act()):
                await server.had(CREATE, 10 * (len(pauses) + 1))
        pauses.append(rests[:9])
    for one, another in zip(*pauses, strict=True):
        assert one != another
    first, *_, last = pauses[0]
    assert 10 * first < last <= 1.2 * LONGEST_PAUSE


async def test_a_node_that_hears_the_api_server_again_does_not_wait_on(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "after_failure", lambda _: 3600)

    async def listed() -> web.Response:
        await server.had(CREATE, 1)
        return web.json_response(
            {
                "apiVersion": "virtnet.dev/v1alpha1",
                "kind": "NodeNetworkList",
                "metadata": {"resourceVersion": "1"},
                "items": [],
            }
        )

    server.answers[LIST] = listed
    server.answers[DEFINITION] = answer({"metadata": {"name": "nodenetworks.virtnet.dev", "uid": "u"}})
    async with own_of(server, tmp_path) as own:
        own._look.set()
        async with running(own._act(), own._informer.run()):
            await server.had(CREATE, 2)


async def test_a_gate_that_is_shut_meanwhile_is_told_where_its_source_is(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its guest may come before the API server takes what it did not take."""
    monkeypatch.setattr(Backoff, "after_failure", lambda _: 3600)
    gates = Gates(HERE, HandoffKeys.generate(), str)
    async with own_of(server, tmp_path, gates) as own:
        own._look.set()
        async with running(own._act()):
            await server.had(CREATE, 1)
            for shut in gates._listeners:
                asyncio.get_running_loop().call_later(0.01, shut)  # the refusal has come by then, or comes now
            await server.had(CREATE, 2)


async def test_a_newer_controller_does_not_end_the_daemon(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pods are attached all the same."""
    monkeypatch.setattr(Backoff, "after_failure", lambda _: 0)
    handoffs = {"demo/db.blue": {"migration": "m1", "role": "Onlooker"}}
    server.answers[CREATE] = answer({"reason": "AlreadyExists", "message": "n1"}, 409)
    server.answers[GET] = answer({"metadata": {"name": "n1"}, "spec": {"handoffs": handoffs}})
    async with own_of(server, tmp_path) as own:
        own._look.set()
        async with running(own._act()):
            await server.had(GET, 2)

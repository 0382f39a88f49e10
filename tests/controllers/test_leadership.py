"""Two controllers: one leads; when it freezes the other takes over; when it wakes it can write nothing."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.controllers.conftest import World, until
from virtnet.kube.errors import AlreadyExists
from virtnet.kube.kinds import LEASES, NAMESPACES
from virtnet.lab.control_plane import ControlPlane
from virtnet.lab.daemon import Daemon
from virtnet.lab.ovn_central import OvnCentral

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def pair(
    api_server: ControlPlane, central: OvnCentral, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Daemon]]:
    state: Path = tmp_path_factory.mktemp("pair")
    command = [sys.executable, "-m", "virtnet.cli.main", "controller", "--metrics-port", "0",
               "--northbound", central.remote("nb"), "--southbound", central.remote("sb")]  # fmt: skip
    environment = {"KUBECONFIG": str(api_server.kubeconfig)}
    daemons = [Daemon(f"controller{n}", command, state, environment) for n in (1, 2)]
    yield daemons
    for daemon in daemons:
        daemon.thaw()
        daemon.stop()


@pytest.fixture(scope="module")
def controller(pair: list[Daemon]) -> Daemon:
    """The world's controller: the first of the pair."""
    return pair[0]


async def test_a_frozen_leader_is_replaced_and_fenced(world: World, pair: list[Daemon]) -> None:
    first, second = pair
    with suppress(AlreadyExists):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "virtnet"}}
        await world.cluster.create(NAMESPACES, body)

    async def holder() -> str:
        leases, _ = await world.cluster.list(LEASES, "virtnet")
        return next((lease["spec"].get("holderIdentity") or "" for lease in leases), "")

    def led_by(daemon: Daemon) -> bool:
        return f"_{daemon.pid}_" in (held or "")

    held = await until(holder, "a leader")
    assert led_by(first)
    second.start()
    await world.subnet()
    await world.vm()

    async def port(name: str) -> bool:
        return f"{world.namespace}/{name}" in world.lsps()

    await until(lambda: port("db.blue"), "the first controller's work")
    first.freeze()

    async def taken_over() -> bool:
        nonlocal held
        held = await holder()
        return led_by(second)

    await until(taken_over, "the second controller leading", seconds=40)
    await world.vm("web", "10.0.0.7", "02:76:6e:00:00:07")
    await until(lambda: port("web.blue"), "the second controller's work", seconds=40)
    first.thaw()

    async def gave_up() -> bool:
        return "leadership lost" in first.log.read_text() or first.pid is None

    await until(gave_up, "the first controller noticing")
    await world.vm("late", "10.0.0.8", "02:76:6e:00:00:08")
    await until(lambda: port("late.blue"), "the second controller going on")
    assert await taken_over()

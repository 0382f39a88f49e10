"""What tests of several concepts share: a real API server, a client of it, and a namespace to write into."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from virtnet.kube.client import Cluster
from virtnet.kube.kinds import NAMESPACES
from virtnet.lab import manifests
from virtnet.lab.binaries import MissingProgram
from virtnet.lab.control_plane import ControlPlane, Identity
from virtnet.lab.daemon import ELSEWHERE, NICENESS

LABS, EMULATED = "tests/lab/", ("tests/kernel/", "tests/hardware/")
BESIDE_LABS = ELSEWHERE
"""The niceness of all other tests in another process: as that of a lab's API server, which they would keep waiting."""
REPOSITORY = Path(__file__).parents[1]

# Properties hold or do not; how long an example takes says only how busy the machine is.
settings.register_profile("virtnet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("virtnet")

NOBODY = Identity("nobody", user="nobody", uid="nobody", token="nobody")
"""Has a kubeconfig, and no rights at all."""


def pytest_configure() -> None:
    """A run that is told to end (by ``timeout``, or a CI that is out of time) takes down what it has made."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whatever asks for an API server starts real daemons, however deep in its fixtures it asks."""
    for item in items:
        if {"api_server", "own_api_server"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.system)
    if hasattr(config, "workerinput"):  # one of several processes: what takes longest is begun with
        items.sort(key=lambda item: (not item.nodeid.startswith(LABS), not item.nodeid.startswith(EMULATED)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """One of several processes has the labs, which hurry as clusters do."""
    if hasattr(item.config, "workerinput"):
        niceness = 0 if item.nodeid.startswith(LABS) else BESIDE_LABS
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
        os.environ[NICENESS] = str(niceness)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Of several processes one has all labs, and then all emulated machines: no two of them fit on two cores.

    The rest is shared out by modules.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "machines" if nodeid.startswith((LABS, *EMULATED)) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    return Scheduling(config, log)


async def load_definitions(server: ControlPlane) -> None:
    """Make all kinds known that virtnet reads and writes."""
    async with await Cluster.connect(str(server.kubeconfig)) as cluster:
        await manifests.apply(cluster, manifests.read(manifests.FOREIGN_CRDS, REPOSITORY / "crds"))


@contextmanager
def running_server(state: Path) -> Iterator[ControlPlane]:
    """A control plane on 127.0.0.1 that knows all kinds. It dies with the test process, whatever that dies of."""
    server = ControlPlane.local(state, identities=(NOBODY,))
    try:
        server.start()
        asyncio.run(load_definitions(server))
        yield server
    except MissingProgram as problem:
        pytest.fail(str(problem), pytrace=False)
    finally:
        server.stop()
        shutil.rmtree(state / "etcd", ignore_errors=True)  # 130 MB, which pytest would keep for three runs


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The API server of all tests: real, and with virtnet's, KubeVirt's and Multus' kinds. Do not stop it."""
    with running_server(tmp_path_factory.mktemp("api-server")) as server:
        yield server


@pytest.fixture(scope="module")
def own_api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server for one module of tests that stop and kill it."""
    with running_server(tmp_path_factory.mktemp("own-api-server")) as server:
        yield server


@pytest.fixture
async def cluster(api_server: ControlPlane) -> AsyncIterator[Cluster]:
    """The API server as its administrator sees it."""
    async with await Cluster.connect(str(api_server.kubeconfig)) as connected:
        yield connected


@pytest.fixture
async def namespace(cluster: Cluster) -> str:
    """A namespace of the test's own. Nothing deletes it: that takes a controller that is not here."""
    name = f"test-{uuid4().hex[:8]}"
    await cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name

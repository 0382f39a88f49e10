"""The stand-in on two nodes, without any network of virtnet's."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Generator, Iterator

import pytest

from tests.lab import labs
from tests.lab.standin_demo import Demo
from tests.lab.standin_lab import StandinLab, standin_lab
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound
from virtnet.kube.kinds import NADS, PODS, VMIMS, VMIS, VMS
from virtnet.lab.control_plane import ControlPlane


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a failure goes the state of its lab, which is gone when somebody reads of it."""
    report = yield
    if call.excinfo is not None and (state := labs.state()):
        report.sections.append(("The lab", state))
    return report


@pytest.fixture(scope="module")
def standin(api_server: ControlPlane) -> Iterator[StandinLab]:
    with standin_lab(f"si{secrets.token_hex(4)}", api_server.kubeconfig) as running:
        yield running


@pytest.fixture
async def demo(standin: StandinLab, cluster: Cluster, namespace: str) -> AsyncIterator[Demo]:
    nad = {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "blue-net", "namespace": namespace},
        "spec": {"config": standin.nad_config},
    }
    await cluster.create(NADS, nad, namespace)
    made = Demo(cluster, namespace)
    watches = [asyncio.create_task(made.follow(kind)) for kind in (PODS, VMS, VMIS, VMIMS)]
    yield made
    with contextlib.suppress(NotFound):
        await cluster.delete(VMS, "vm1", namespace)
        await made.gone("VirtualMachine", "vm1")
    for watch in watches:
        watch.cancel()

"""One Open vSwitch for each module of tests, and a node without NICs for each test."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.attach.rig import Node
from tests.attach.world import World
from virtnet.kube.client import Cluster
from virtnet.lab.control_plane import ControlPlane
from virtnet.lab.ovn_central import OvnCentral


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "node_of_module" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="module")
def node_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node.running(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture(scope="module")
def real_ovn(node_of_module: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OvnCentral]:
    """OVN with one chassis, the node."""
    ovn, node = OvnCentral(tmp_path_factory.mktemp("ovn") / "central"), node_of_module
    try:
        ovn.start()
        node.vsctl(
            *("set", "Open_vSwitch", ".", f"external_ids:ovn-remote={ovn.remote('sb')}"),
            *("external_ids:ovn-encap-type=geneve", "external_ids:ovn-bridge-datapath-type=netdev"),
        )
        node.background(
            "ovn-controller", "ip", "netns", "exec", node.name, "ovn-controller", node.ovsdb, "-vconsole:warn"
        )
        yield ovn
    finally:
        ovn.destroy()


@pytest.fixture
def node(node_of_module: Node) -> Iterator[Node]:
    """A node without NICs, its daemon serving."""
    node = node_of_module
    node.pods.clear()
    node.write_pods()
    if "virtnet" not in node.daemons or node.daemon.pid is None:
        node.start_daemon()
    yield node
    if node.daemon.pid is None:
        node.start_daemon()
    node.clean()
    assert node.nothing_left


@pytest.fixture
async def world(node: Node, cluster: Cluster, namespace: str, api_server: ControlPlane) -> AsyncIterator[World]:
    found = World(node, cluster, str(api_server.kubeconfig))
    node.namespace = namespace
    found.restart()
    await found.until(lambda own: own.status.chassis, "published")
    yield found
    await found.ask()
    node.namespace = "demo"
    node.clean()

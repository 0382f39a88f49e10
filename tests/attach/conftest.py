"""One Open vSwitch for each module of tests, and a node without NICs for each test."""

from collections.abc import Iterator

import pytest

from tests.attach.rig import Node


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "node_of_module" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="module")
def node_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node.running(tmp_path_factory.mktemp("node")) as node:
        yield node


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

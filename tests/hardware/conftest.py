"""What is tested here is a machine's NICs, so all but one test run in the emulated machine alone."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attach.rig import eventually, run
from tests.hardware import igb
from tests.hardware.igb import Igb
from tests.hardware.vf_node import NUMBER, VFS, VfNode, links, states

INSIDE = os.environ.get("HARDWARE") == "emulated"
OUTSIDE = "test_hardware.py"

collect_ignore = [OUTSIDE] if INSIDE else []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent != Path(__file__).parent:
            continue
        item.add_marker(pytest.mark.lab)
        if not INSIDE and item.path.name != OUTSIDE:
            item.add_marker(pytest.mark.skip("is run in an emulated machine: python -m tests.hardware"))


def pytest_collection_finish() -> None:
    """Daemons are forks: what their garbage collectors look at is copied, page by page."""
    if INSIDE:
        gc.collect()
        gc.freeze()


@pytest.fixture
def pf() -> Iterator[Igb]:
    """The igb, which is up and has no VFs."""
    found = igb.find()
    found.set_vfs(0)
    found.up()
    yield found
    found.set_vfs(0)


@pytest.fixture
def nic() -> Igb:
    """The igb with its virtual functions, which it keeps: to make them takes seconds."""
    found = igb.find()
    if found.vfs != VFS:
        found.up()
        found.set_vfs(VFS)
        eventually(lambda: {found.vf(number) for number in range(VFS)} <= links().keys(), "each has its interface")
        name = links()[found.vf(NUMBER)]["ifname"]
        run("ip", "link", "set", name, "down")
        run("ip", "link", "set", name, "name", "mine", "mtu", "1300")
        run("ip", "link", "property", "add", "dev", "mine", "altname", "pod1")
    return found


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VfNode]:
    with VfNode.of_the_machine(tmp_path_factory.mktemp("node")) as node:
        node.start_daemon()
        yield node


@pytest.fixture
def node(machine: VfNode, nic: Igb) -> Iterator[VfNode]:
    """The machine as a node, its daemon serving; afterwards there is no NIC, and each virtual function as before."""
    before = states(nic)
    if not machine.forks["virtnet"].alive:
        machine.start_daemon()
    yield machine
    machine.dies_at("")
    if not machine.forks["virtnet"].alive:
        machine.start_daemon()
    machine.clean()
    assert machine.journal() == []
    assert states(nic) == before

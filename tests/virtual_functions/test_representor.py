"""A representor is made such as the switch needs it, and put back: a veth stands for one, in a namespace of its own."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.attach.rig import run
from tests.attach.samples import attachment, journaled
from tests.devices.sysfs import PF, Sysfs
from tests.virtual_functions.test_knobs import FRESH
from virtnet.lab import netns
from virtnet.node import ethtool
from virtnet.node.devices.tree import Tree
from virtnet.node.journal import Entry
from virtnet.node.nics.representor import RepresentorStep
from virtnet.node.request import CniError
from virtnet.node.virtual_functions.eswitch import Eswitch
from virtnet.node.virtual_functions.found import FoundRepresentor, FoundVf
from virtnet.node.virtual_functions.physical import PhysicalFunctions

pytestmark = pytest.mark.system

VF = "0000:3b:02.0"
FOUND = FoundRepresentor(name="rep0", mtu=1500, up=True, address_generation=0, hw_tc_offload="")


@pytest.fixture
def here() -> Iterator[str]:
    name = f"vnr{uuid4().hex[:6]}"
    run("ip", "netns", "add", name)
    run("ip", "-n", name, "link", "add", "rep0", "type", "veth", "peer", "name", "vf0")
    run("ip", "-n", name, "link", "set", "rep0", "up")
    yield name
    run("ip", "netns", "del", name)


@pytest.fixture
def node(here: str, tmp_path: Path) -> PhysicalFunctions:
    kernel = Sysfs(tmp_path)
    kernel.nic(PF, "ens1", total=8)
    kernel.vfs(PF, [VF])
    return PhysicalFunctions(f"/run/netns/{here}", Tree(kernel.root), lambda *_: Eswitch("switchdev", "rep0"))


def nic(mtu: int = 1400) -> Entry:
    found = FoundVf(number=0, physical=PF, driver="iavf", knobs=FRESH, representor=FOUND)
    return journaled(device=VF, attachment=attachment(nic="switchdev", mtu=mtu), virtual_function=found)


def shown(here: str) -> dict[str, Any]:
    (link,) = json.loads(run("ip", "-n", here, "-details", "-json", "link", "show", "rep0"))
    return {"mtu": link["mtu"], "up": "UP" in link["flags"], "addresses": link["inet6_addr_gen_mode"]}


async def test_it_is_put_back(here: str, node: PhysicalFunctions) -> None:
    before, step = shown(here), RepresentorStep(node, FOUND)
    for _ in range(2):
        await step.do(nic())
        assert shown(here) == {"mtu": 1400, "up": True, "addresses": "none"}
        assert not json.loads(run("ip", "-n", here, "-6", "-json", "address", "show", "dev", "rep0"))
    for _ in range(2):
        await step.undo(nic())
        assert shown(here) == before


async def test_it_is_put_back_once_the_switch_has_let_go(here: str, node: PhysicalFunctions) -> None:
    before, step = shown(here), RepresentorStep(node, FOUND)
    await step.do(nic())
    run("ip", "-n", here, "link", "add", "switch", "type", "bridge")
    run("ip", "-n", here, "link", "set", "rep0", "master", "switch")
    later = threading.Timer(0.3, run, ("ip", "-n", here, "link", "set", "rep0", "nomaster"))
    later.start()
    await step.undo(nic())
    assert later.finished.is_set()
    assert shown(here) == before


async def test_one_that_has_vanished(here: str, node: PhysicalFunctions) -> None:
    run("ip", "-n", here, "link", "del", "rep0")
    step = RepresentorStep(node, FOUND)
    with pytest.raises(CniError, match=f"representor rep0 of {VF} vanished while it was attached"):
        await step.do(nic())
    await step.undo(nic())


async def test_another_functions_representor_is_left_alone(here: str, node: PhysicalFunctions) -> None:
    """Its name may have become another's, over a reboot."""
    await RepresentorStep(node, FOUND).do(nic())
    elsewhere = PhysicalFunctions(node.here, node.tree, lambda *_: Eswitch("switchdev", "rep1"))
    await RepresentorStep(elsewhere, FOUND).undo(nic())
    assert shown(here)["mtu"] == 1400


def test_a_feature_is_set(here: str) -> None:
    def work() -> list[bool]:
        states = []
        for active in (False, True):
            ethtool.set_feature("rep0", "tx-tcp-segmentation", active=active)
            found = ethtool.feature("rep0", "tx-tcp-segmentation")
            states.append(found is not None and found.active)
        return states

    assert netns.inside(here, work) == [False, True]
    with pytest.raises(OSError, match="has no feature warp"):
        netns.inside(here, lambda: ethtool.set_feature("rep0", "warp", active=True))

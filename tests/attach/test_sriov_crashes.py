"""A virtual function of a guest, of kind sriov, is as it was whenever the daemon is killed. It is modelled."""

from pathlib import Path

import pytest

from tests.attach.rig import eventually
from tests.attach.test_switchdev import INFO, Scene, launcher, scene
from tests.virtual_functions.test_knobs import FRESH

__all__ = ["scene"]

SETTINGS = {"spoof_check": False, "trust": True, "vlan_qos": 3, "max_tx_rate_mbps": 50}
STEPS = 5
"""Its knobs: MAC, VLAN, rates, spoof check, trust."""


@pytest.fixture
def netns(scene: Scene) -> str:
    return needing_all(scene)


def needing_all(scene: Scene) -> str:
    """A pod whose NIC, of kind sriov, needs all of them; its network namespace."""
    mapped = "external_ids:ovn-bridge-mappings=physnet:br-phys"
    scene.node.vsctl("set", "Open_vSwitch", ".", mapped)
    scene.vf.mode.write_text("legacy")
    underlay = {"providerNetwork": "physnet", "vlan": 100, "conflictDetection": False}
    return launcher(scene.node, nic="sriov", underlay=underlay, virtual_function=SETTINGS)


def dies(scene: Scene) -> None:
    eventually(lambda: scene.node.daemon.pid is None, "the daemon is dead")


@pytest.mark.parametrize("at", ["found:0", *(f"vf-do:{step}" for step in range(STEPS)), "attached:0"])
def test_killed_at_any_step_of_add(scene: Scene, netns: str, at: str) -> None:
    before = scene.state
    scene.daemon(CRASH_AT=at)
    assert scene.cni("ADD", netns)[0] == 1
    dies(scene)
    scene.daemon()
    assert (scene.state, Path(INFO).exists()) == (before, False)
    scene.add(netns)
    assert scene.knobs != FRESH
    assert scene.cni("CHECK", netns) == (0, None)


@pytest.mark.parametrize("at", [f"vf-undo:{step}" for step in range(STEPS)])
def test_killed_at_any_step_of_del(scene: Scene, netns: str, at: str) -> None:
    before = scene.state
    scene.daemon(CRASH_AT=at)
    scene.add(netns)
    assert scene.cni("DEL", netns)[0] == 1
    dies(scene)
    scene.daemon()
    assert (scene.state, Path(INFO).exists()) == (before, False)

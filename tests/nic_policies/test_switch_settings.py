"""Settings of a real Open vSwitch database are what the eldest policy says, and afterwards what they were."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attach.rig import Node
from tests.nic_policies.rig import policy
from virtnet.api import PlacedNicPolicy
from virtnet.api.nic_policy import DpdkSettings
from virtnet.api.node_devices import SwitchDpdk
from virtnet.node.nic_policies.switch_settings import SwitchSettings, settings_of
from virtnet.ovn.switch_config import BEFORE, DEFAULTS, SwitchConfig, due
from virtnet.ovn.switch_database import SwitchDatabase

KEYS = ("hw-offload", "dpdk-init", "pmd-cpu-mask")
CONFIG = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(("true", "false", "0x4")), max_size=3)


def applied(stored: dict[str, str], changes: Any) -> dict[str, str]:
    return {key: value for key, value in {**stored, **changes}.items() if value is not None}


@given(CONFIG, st.lists(CONFIG, max_size=4))
def test_what_was_there_is_put_back(first: dict[str, str], said: list[dict[str, str]]) -> None:
    config, ids = dict(first), {"system-id": "node1"}
    for wanted in said:
        changes = due(config, ids, wanted)
        config, ids = applied(config, changes[0]), applied(ids, changes[1])
        assert {key: config.get(key) or DEFAULTS.get(key) for key in wanted} == wanted
    changes = due(config, ids, {})
    assert (applied(config, changes[0]), applied(ids, changes[1])) == (first, {"system-id": "node1"})


@given(CONFIG, CONFIG)
def test_what_is_left_to_others_stays(first: dict[str, str], wanted: dict[str, str]) -> None:
    changes = due(first, {}, wanted)
    config, ids = applied(first, changes[0]), applied({}, changes[1])
    assert due(config, ids, {}, KEYS) == ({}, dict.fromkeys(ids))


@pytest.mark.parametrize("there", ["true", "try"])
def test_a_switch_that_has_to_use_dpdk_is_left_so(there: str) -> None:
    assert due({"dpdk-init": there}, {}, {"dpdk-init": "try"}) == ({}, {})


def test_settings_of_dpdk_are_those_of_open_vswitch() -> None:
    given = DpdkSettings(pmd_cpus=(2, 3, 66), socket_memory=(1024, 0), pmd_sleep_max=500)
    assert settings_of(policy("a", dpdk=given, hw_offload=True)) == {
        "hw-offload": "true",
        "dpdk-init": "try",
        "pmd-cpu-mask": "0x4000000000000000c",
        "dpdk-socket-mem": "1024,0",
        "pmd-sleep-max": "500",
        "pmd-maxsleep": "500",
    }
    assert settings_of(policy("a", dpdk=DpdkSettings())) == {"dpdk-init": "try"}
    assert settings_of(policy("a", vfs=1)) == {}


ON, DPDK = {"hw-offload": "true"}, {"dpdk-init": "try"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node.running(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture
async def switch(node: Node) -> AsyncIterator[SwitchSettings]:
    database = await SwitchDatabase.connect(f"unix:{node.state}/db.sock")
    yield SwitchSettings(SwitchConfig(database), lambda: SwitchDpdk(reason="NoDpdk", message="none"), cpus=4)
    await database.close()


def says(name: str, on: str, **more: Any) -> PlacedNicPolicy:
    return policy(name, hw_offload=on == "on", **more)


def uses(name: str, *cpus: int, **more: Any) -> PlacedNicPolicy:
    return policy(name, dpdk=DpdkSettings(pmd_cpus=cpus), **more)


def stored(node: Node) -> dict[str, str]:
    """Of other_config; and nothing of ours is in external_ids if that is empty."""
    found = node.vsctl("get", "Open_vSwitch", ".", "other_config").strip("{}")
    pairs = dict(pair.replace('"', "").split("=") for pair in found.split(", ") if pair)
    if not pairs:
        assert BEFORE not in node.vsctl("get", "Open_vSwitch", ".", "external_ids")
    return pairs


@pytest.mark.system
@pytest.mark.parametrize(
    ("policies", "there", "reasons"),
    [
        pytest.param([says("a", "on")], ON, {}, id="one"),
        pytest.param([says("a", "on"), says("b", "on")], ON, {}, id="two of one mind"),
        pytest.param([says("a", "on"), says("b", "off")], ON, {"b": "Overlap"}, id="the elder's"),
        pytest.param([says("a", "on", externally_managed=True)], {}, {"a": "Differs"}, id="managed by others"),
        pytest.param([says("a", "off")], {}, {}, id="as it is"),
        pytest.param([policy("a", vfs=1)], {}, {}, id="nobody says anything"),
        pytest.param([uses("a", 1)], {**DPDK, "pmd-cpu-mask": "0x2"}, {"a": "NoDpdk"}, id="dpdk in a switch without"),
        pytest.param(
            [uses("a"), uses("b", 4)],
            {**DPDK, "pmd-cpu-mask": "0x10"},
            {"a": "NoDpdk", "b": "NoSuchCpu"},
            id="each setting is its eldest's",
        ),
        pytest.param(
            [uses("a", 1), uses("b", 2)],
            {**DPDK, "pmd-cpu-mask": "0x2"},
            {"a": "NoDpdk", "b": "Overlap"},
            id="the elder's threads",
        ),
        pytest.param(
            [uses("a", externally_managed=True), uses("b")],
            {},
            {"a": "Differs", "b": "NoDpdk"},
            id="dpdk that others manage",
        ),
    ],
)
async def test_the_eldest_policy_has_it(
    node: Node,
    switch: SwitchSettings,
    policies: Sequence[PlacedNicPolicy],
    there: dict[str, str],
    reasons: dict[str, str],
) -> None:
    found = await switch.follow(policies)
    assert {name: obstacle.reason for name, obstacle in found.items()} == reasons
    assert stored(node) == there
    assert await switch.follow([]) == {}
    assert stored(node) == {}


@pytest.mark.system
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (SwitchDpdk(healthy=True), None),
        (SwitchDpdk(reason="KernelDatapath", message="a bridge's, not DPDK's"), None),
        (SwitchDpdk(reason="DpdkNotInitialized", message="restart it"), "DpdkNotInitialized"),
    ],
)
async def test_whoever_may_restart_the_switch_is_told(
    node: Node, switch: SwitchSettings, said: SwitchDpdk, reason: str | None
) -> None:
    found = await replace(switch, dpdk=lambda: said).follow([uses("a", 1)])
    assert [obstacle.reason for obstacle in found.values()] == ([reason] if reason else [])
    await switch.follow([])
    assert stored(node) == {}


@pytest.mark.system
async def test_it_is_left_to_others_as_it_is(node: Node, switch: SwitchSettings) -> None:
    await switch.follow([says("a", "on")])
    assert await switch.follow([says("a", "on", externally_managed=True)]) == {}
    assert await switch.follow([]) == {}
    assert stored(node) == ON
    node.vsctl("remove", "Open_vSwitch", ".", "other_config", "hw-offload")
    assert stored(node) == {}

"""hw-offload of a real Open vSwitch database is what the eldest policy says, and afterwards what it was."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attach.rig import Node
from tests.nic_policies.rig import policy
from virtnet.api import PlacedNicPolicy
from virtnet.node.nic_policies.switch_offload import SwitchOffload
from virtnet.ovn.hw_offload import BEFORE, KEY, HwOffload, due
from virtnet.ovn.switch_database import SwitchDatabase

VALUE = st.sampled_from(("", "true", "false"))


def applied(stored: dict[str, str], changes: Any) -> dict[str, str]:
    return {key: value for key, value in {**stored, **changes}.items() if value is not None}


@given(VALUE, st.lists(st.booleans(), max_size=4))
def test_what_was_there_is_put_back(value: str, said: list[bool]) -> None:
    first = {KEY: value} if value else {}
    config, ids = dict(first), dict[str, str]()
    for on in said:
        changes = due(config, ids, on=on)
        config, ids = applied(config, changes[0]), applied(ids, changes[1])
        assert config.get(KEY, "false") == ("true" if on else "false")
    changes = due(config, ids, on=None)
    assert (applied(config, changes[0]), applied(ids, changes[1])) == (first, {})


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node.running(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture
async def switch(node: Node) -> AsyncIterator[SwitchOffload]:
    database = await SwitchDatabase.connect(f"unix:{node.state}/db.sock")
    yield SwitchOffload(HwOffload(database))
    await database.close()


def says(name: str, on: str, **more: Any) -> PlacedNicPolicy:
    return policy(name, hw_offload=on == "on", **more)


def stored(node: Node) -> tuple[str, str]:
    where = ("--if-exists", "get", "Open_vSwitch", ".")
    config, ids = (node.vsctl(*where, key).strip('"') for key in (f"other_config:{KEY}", f'external_ids:"{BEFORE}"'))
    return config, ids


@pytest.mark.system
@pytest.mark.parametrize(
    ("policies", "there", "reasons"),
    [
        pytest.param([says("a", "on")], "true", {}, id="one"),
        pytest.param([says("a", "on"), says("b", "on")], "true", {}, id="two of one mind"),
        pytest.param([says("a", "on"), says("b", "off")], "true", {"b": "Overlap"}, id="the elder's"),
        pytest.param([says("a", "on", externally_managed=True)], "", {"a": "Differs"}, id="managed by others"),
        pytest.param([says("a", "off")], "", {}, id="as it is"),
        pytest.param([policy("a", vfs=1)], "", {}, id="nobody says anything"),
    ],
)
async def test_the_eldest_policy_has_it(
    node: Node, switch: SwitchOffload, policies: Sequence[PlacedNicPolicy], there: str, reasons: dict[str, str]
) -> None:
    found = await switch.follow(policies)
    assert {name: obstacle.reason for name, obstacle in found.items()} == reasons
    assert stored(node)[0] == there
    assert await switch.follow([]) == {}
    assert stored(node) == ("", "")


@pytest.mark.system
async def test_it_is_left_to_others_as_it_is(node: Node, switch: SwitchOffload) -> None:
    await switch.follow([says("a", "on")])
    assert await switch.follow([says("a", "on", externally_managed=True)]) == {}
    assert await switch.follow([]) == {}
    assert stored(node) == ("true", "")
    node.vsctl("remove", "Open_vSwitch", ".", "other_config", KEY)

"""What a node cannot attach, because a machine outside has the address, is told on the Port."""

import pytest

from tests.controllers.conftest import World, until
from tests.messages import PORTS
from virtnet.api import Condition, NodeNetwork
from virtnet.engine.outcome import with_conditions
from virtnet.features.port_report import ADDRESS_CONFLICT, conflict_state
from virtnet.kube import kinds
from virtnet.kube.kinds import EVENTS

SEEN = {"address": "10.0.0.5", "macAddress": "0c:00:00:00:00:01", "segment": "VLAN 100 of rack"}
TEXT = PORTS["an address that a machine outside has"].message


def test_the_condition_appears_with_the_first_conflict() -> None:
    assert with_conditions((), [conflict_state("")], 1) == ()
    there = with_conditions((), [conflict_state("n1 cannot attach it")], 1)
    gone = with_conditions(there, [conflict_state("")], 2)
    said = [(c.type, c.status, c.reason, c.message) for c in (*there, *gone)]
    assert said == [
        (ADDRESS_CONFLICT, "True", "UsedOutside", "n1 cannot attach it"),
        (ADDRESS_CONFLICT, "False", "Free", ""),
    ]


@pytest.mark.system
async def test_a_conflict_is_told_on_the_port_and_taken_back(world: World) -> None:
    await world.subnet()
    await world.vm()

    async def say(conflict: dict[str, str] | None) -> None:
        patch = {"status": {"conflicts": {f"{world.namespace}/db.blue": conflict}}}
        await world.cluster.patch(kinds.of(NodeNetwork), "node1", patch, subresource="status")

    async def condition_of(status: str) -> tuple[str, Condition] | None:
        port = (await world.ports()).get("db.blue")
        conditions = port.status.conditions if port else ()
        found = (one for one in conditions if (one.type, one.status) == (ADDRESS_CONFLICT, status))
        return next(((port.status.phase, one) for one in found if port), None)

    async def events() -> list[str]:
        found, _ = await world.cluster.list(EVENTS, world.namespace)
        return [one["note"] for one in found if one["reason"] == ADDRESS_CONFLICT]

    await until(world.ports, "a Port")
    await say(SEEN)
    phase, condition = await until(lambda: condition_of("True"), "the condition")
    assert (phase, condition.message) == ("Conflict", TEXT)
    assert await until(events, "an Event") == [f"NIC blue: {TEXT}"]
    await say(None)
    phase, condition = await until(lambda: condition_of("False"), "the condition taken back")
    assert (phase, condition.message) == ("Unbound", "")

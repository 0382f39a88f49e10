"""A NIC is plugged in and out again, and the node itself never loses its connections."""

import pytest

from tests.providers.rig import BRIDGE, NIC, Machines, Questions, Session

pytestmark = pytest.mark.system


async def test_what_the_node_has_moves_to_the_bridge_and_back(world: Machines) -> None:
    before = world.whole
    async with world.networks() as networks:
        session, other = Session(world), Session(world, "fd07::5")
        networks.want({"blue": NIC})
        await networks.reconcile()
        status = networks.statuses["blue"]
        assert (status.ready, status.reason, status.message, status.bridge) == (True, "Plugged", "", BRIDGE)
        assert world.on(BRIDGE) == {"entries": before["entries"]}
        assert world.on(NIC) == {"entries": []}
        assert world.mapping("ovn-bridge-mappings") == "blue:br-blue"
        turns = session.turns
        networks.want({})
        await networks.reconcile()
        assert networks.statuses == {}
        session.end()
        other.end()
    assert session.turns > turns > 0
    assert world.whole == before
    assert world.bridges == ["br-int"]
    assert world.mapping("ovn-bridge-mappings") == ""
    assert not list(world.records.iterdir())


async def test_no_frame_is_lost_while_the_nic_changes_hands(world: Machines) -> None:
    """One that is lost costs a TCP session 200 ms, the shortest time after which a sender tries again."""
    questions = Questions(world)
    async with world.networks() as networks:
        for wanted in ({"blue": NIC}, {}) * 3:
            asked = questions.asked
            networks.want(wanted)
            await networks.reconcile()
            assert questions.asked > asked
    assert questions.end() == 0

"""A guest that has come to a node is announced to its physical network, and to the node's own bridge."""

import asyncio
import socket

import pytest

from tests.attach.rig import eventually
from tests.underlay.conftest import ADDRESSES, MAC, MIGRATION, NIC, PATCH, PORT, VLAN, entry_of
from virtnet.api import NodeHandoff
from virtnet.node.announce import REPEATED_AFTER, Announcer
from virtnet.node.frames import announcements

pytestmark = pytest.mark.system

TOLD = announcements(MAC, ADDRESSES, VLAN)
HANDOFF = NodeHandoff(migration=MIGRATION, role="Target", open=True)


def heard(wire: socket.socket, rounds: int) -> list[bytes]:
    """The guest's frames of so many announcements. Raises TimeoutError."""
    found: list[bytes] = []
    while len(found) < rounds * len(TOLD):
        frame = wire.recv(2000)
        if frame[6:12].hex(":") == MAC:
            found.append(frame)
    return found


async def test_it_is_told_again_and_again(site, vswitch, journal, wire):
    announcer = Announcer(journal, vswitch, site.node.state)
    announcer.arrived((await entry_of(journal)).id)
    # A packet socket has the tag beside the frame, and not in it.
    told = [frame[:12] + frame[16:] for frame in TOLD]
    assert await asyncio.to_thread(heard, wire, len(REPEATED_AFTER)) == told * len(REPEATED_AFTER)


async def test_the_nodes_own_bridge_learns_that_the_guest_is_behind_ovn(site, vswitch, journal, wire):
    wire.send(TOLD[1])  # the guest, while it was elsewhere
    await asyncio.to_thread(eventually, lambda: site.learned().get((MAC, VLAN)) == NIC, "learnt from outside")
    announcer = Announcer(journal, vswitch, site.node.state)
    announcer.arrived((await entry_of(journal)).id)
    await asyncio.to_thread(heard, wire, 1)
    assert site.learned()[MAC, VLAN] == PATCH


async def test_the_controllers_word_is_enough_and_the_end_of_the_handoff_is_told_too(site, vswitch, journal, wire):
    announcer = Announcer(journal, vswitch, site.node.state)
    await entry_of(journal)
    announcer.follow({PORT: HANDOFF.model_copy(update={"open": False})})
    announcer.follow({PORT: HANDOFF})
    announcer.follow({PORT: HANDOFF})
    await asyncio.to_thread(heard, wire, len(REPEATED_AFTER))
    announcer.follow({})
    await asyncio.to_thread(heard, wire, len(REPEATED_AFTER))


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        pytest.param({"released_at": "2026-01-01T00:00:00Z"}, HANDOFF, id="a NIC that has let go"),
        pytest.param({"migration": "m0"}, HANDOFF, id="a NIC of another migration"),
        pytest.param({}, HANDOFF.model_copy(update={"role": "Source"}), id="the source"),
        pytest.param({}, HANDOFF.model_copy(update={"open": False}), id="a guest that is not here yet"),
    ],
)
async def test_nobody_else_is_announced(site, vswitch, journal, changes, part):
    announcer = Announcer(journal, vswitch, site.node.state)
    await entry_of(journal, **changes)
    announcer.follow({PORT: part})
    announcer.follow({})
    assert not announcer._tasks

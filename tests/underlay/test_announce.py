"""A guest that has come to a node is announced to its physical network, and to the node's own bridge."""

import asyncio
import socket

import pytest

from tests.attach.rig import eventually, run
from tests.underlay.conftest import ADDRESSES, MAC, MIGRATION, NIC, PATCH, PORT, VLAN, Site, entry_of
from virtnet.api import HandoffPath, NodeHandoff
from virtnet.node.frames import announcements
from virtnet.node.handoff.announcements import REPEATED_AFTER, Announcer
from virtnet.node.handoff.ways_out import WaysOut
from virtnet.node.journal import Journal
from virtnet.ovn.vswitch import VSwitch

pytestmark = pytest.mark.system

ANNOUNCED = announcements(MAC, ADDRESSES, VLAN)
NESTED, VF_MAC = "0a:00:00:00:00:07", "02:76:6e:00:00:0f"
HANDOFF = NodeHandoff(migration=MIGRATION, role="Target", guest_running=True)


def announcer_of(journal: Journal, vswitch: VSwitch, site: Site, uplink: str | None = None) -> Announcer:
    """Of NICs that Open vSwitch has, or of such as are behind an interface of the node."""
    here = f"/run/netns/{site.node.name}"
    return Announcer(journal, WaysOut(here, vswitch, site.node.state, lambda _: uplink))


def heard(wire: socket.socket, rounds: int) -> list[bytes]:
    """The guest's frames of so many announcements. Raises TimeoutError."""
    found: list[bytes] = []
    while len(found) < rounds * len(ANNOUNCED):
        frame = wire.recv(2000)
        if frame[6:12].hex(":") == MAC:
            found.append(frame)
    return found


async def test_it_is_told_again_and_again(site: Site, vswitch: VSwitch, journal: Journal, wire: socket.socket) -> None:
    announcer = announcer_of(journal, vswitch, site)
    announcer.arrived((await entry_of(journal)).id)
    # A packet socket has the tag beside the frame, and not in it.
    announced = [frame[:12] + frame[16:] for frame in ANNOUNCED]
    assert await asyncio.to_thread(heard, wire, len(REPEATED_AFTER)) == announced * len(REPEATED_AFTER)


async def test_the_nodes_own_bridge_learns_that_the_guest_is_behind_ovn(
    site: Site, vswitch: VSwitch, journal: Journal, wire: socket.socket
) -> None:
    wire.send(ANNOUNCED[1])  # the guest, while it was elsewhere
    await asyncio.to_thread(eventually, lambda: site.learned().get((MAC, VLAN)) == NIC, "learnt from outside")
    announcer = announcer_of(journal, vswitch, site)
    announcer.arrived((await entry_of(journal)).id)
    await asyncio.to_thread(heard, wire, 1)
    assert site.learned()[MAC, VLAN] == PATCH


async def test_a_nic_that_the_switch_has_not_is_announced_by_its_uplink(
    site: Site, vswitch: VSwitch, journal: Journal, wire: socket.socket
) -> None:
    """The bridge is told nothing: it is outside, as for any other machine."""
    announcer = announcer_of(journal, vswitch, site, uplink=NIC)
    await entry_of(journal, mac=VF_MAC)
    await announcer.follow({PORT: HANDOFF})
    announced = [frame[:12] + frame[16:] for frame in announcements(VF_MAC, ADDRESSES, VLAN)]
    for frame in announced * len(REPEATED_AFTER):
        assert await asyncio.to_thread(next_from, wire, VF_MAC) == frame
    assert (VF_MAC, VLAN) not in site.learned()


def next_from(wire: socket.socket, mac: str) -> bytes:
    """Raises TimeoutError."""
    while True:
        frame = wire.recv(2000)
        if frame[6:12].hex(":") == mac:
            return frame


async def test_the_controllers_word_is_enough_and_the_end_of_the_handoff_is_told_too(
    site: Site, vswitch: VSwitch, journal: Journal, wire: socket.socket
) -> None:
    announcer = announcer_of(journal, vswitch, site)
    await entry_of(journal)
    await announcer.follow({PORT: HANDOFF.model_copy(update={"guest_running": False})})
    await announcer.follow({PORT: HANDOFF})
    await announcer.follow({PORT: HANDOFF})
    await asyncio.to_thread(heard, wire, len(REPEATED_AFTER))
    await announcer.follow({})
    await asyncio.to_thread(heard, wire, len(REPEATED_AFTER))


async def test_machines_within_the_guest_are_announced_as_ovn_has_learnt_them(
    site: Site, vswitch: VSwitch, journal: Journal, wire: socket.socket
) -> None:
    """Not those of other ports, nor what OVN asks for besides a MAC."""
    learnt = {7: [NESTED, MAC], 8: ["0a:00:00:00:00:08"]}
    flows = [f"table=72,reg14={port},metadata=0x3,dl_src={mac},actions=drop" for port in learnt for mac in learnt[port]]
    flows += [
        "table=28,reg14=7,metadata=0x3,ip,dl_src=0a:00:00:00:00:09,actions=drop",
        "table=8,reg14=7,metadata=0x3,actions=drop",
    ]
    for flow in flows:
        run("ovs-ofctl", "-O", "OpenFlow15", "add-flow", str(site.node.state / "br-int.mgmt"), flow)
    path = HandoffPath(remote="192.0.2.7", datapath=3, port=7, peer_key="A" * 43 + "=")
    announcer = announcer_of(journal, vswitch, site)
    await entry_of(journal)
    await announcer.follow({PORT: HANDOFF.model_copy(update={"path": path})})
    nested = announcements(NESTED, (), VLAN)
    found = await asyncio.to_thread(heard_until, wire, nested[0][:12] + nested[0][16:])
    told = {frame[6:12].hex(":") for frame in found}
    assert {mac for mac in told if mac.startswith((MAC[:8], NESTED[:8]))} == {MAC, NESTED}
    assert site.learned()[NESTED, VLAN] == PATCH


def heard_until(wire: socket.socket, last: bytes) -> list[bytes]:
    """All frames until this one has been heard with each round. Raises TimeoutError."""
    found: list[bytes] = []
    while found.count(last) < len(REPEATED_AFTER):
        found.append(wire.recv(2000))
    return found


async def test_a_guest_is_announced_in_the_vlans_of_its_trunk(
    site: Site, vswitch: VSwitch, journal: Journal, wire: socket.socket
) -> None:
    """As long as its handoff goes on, and at its end."""
    announcer = announcer_of(journal, vswitch, site)
    entry = await entry_of(journal)
    await announcer.follow({PORT: HANDOFF.model_copy(update={"vlans": (200, 300), "guest_running": False})})
    announcer.arrived(entry.id)
    (last,) = announcements(MAC, (), 300)
    # A packet socket has the tag beside the frame, so that all RARPs look alike.
    untagged = last[:12] + last[16:]
    found: list[bytes] = []
    while found.count(untagged) < 3 * len(REPEATED_AFTER):
        found += [await asyncio.to_thread(wire.recv, 2000)]
    assert {site.learned().get((MAC, vlan)) for vlan in (VLAN, 200, 300)} == {PATCH}


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        pytest.param({"released_at": "2026-01-01T00:00:00Z"}, HANDOFF, id="a NIC that has let go"),
        pytest.param({"migration": "m0"}, HANDOFF, id="a NIC of another migration"),
        pytest.param({}, HANDOFF.model_copy(update={"role": "Source"}), id="the source"),
        pytest.param({}, HANDOFF.model_copy(update={"guest_running": False}), id="a guest that is not here yet"),
    ],
)
async def test_nobody_else_is_announced(
    site: Site, vswitch: VSwitch, journal: Journal, changes: dict[str, str], part: NodeHandoff
) -> None:
    announcer = announcer_of(journal, vswitch, site)
    await entry_of(journal, **changes)
    await announcer.follow({PORT: part})
    await announcer.follow({})
    assert not announcer._tasks

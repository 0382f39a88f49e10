"""What must not leave a node, and what must, in a real bridge, heard on the wire."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from ipaddress import IPv6Address

import pytest

from tests.attach.rig import eventually, run
from tests.underlay.conftest import BRIDGE, MAC, NETWORK, NIC, PATCH, VLAN, Site, entry_of
from virtnet.node import frames
from virtnet.node.egress import Egress
from virtnet.node.frames import NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, ROUTER_ADVERTISEMENT
from virtnet.node.journal import Journal
from virtnet.ovn.mappings import MACS, chassis_mac
from virtnet.ovn.vswitch import VSwitch

ROUTER = chassis_mac("chassis-x", NETWORK)
GUEST = "02:76:6e:00:00:0b"
ECHO_REQUEST = 128

pytestmark = pytest.mark.system


@pytest.fixture
async def egress(site: Site, journal: Journal) -> AsyncIterator[None]:
    vswitch = await VSwitch.connect(site.node.ovsdb, "br-int")
    await vswitch.set_external_ids({MACS: f"other:02:00:00:00:00:01,{NETWORK}:{ROUTER}"})
    task = asyncio.create_task(Egress(vswitch, journal, site.node.state, repeat=0.2).run())
    yield
    task.cancel()
    await vswitch.close()


def said(source: str, kind: int, to: str = "") -> bytes:
    """An ICMPv6 message on a VLAN, to all or to one."""
    group = IPv6Address("ff02::1")
    packet = frames._ipv6(IPv6Address("fe80::1"), group, struct.pack("!BBHI", kind, 0, 0, 0) + bytes(16))
    destination = frames.octets(to) if to else frames._multicast(group)
    return frames._ethernet(destination, frames.octets(source), VLAN, frames.IPV6, packet)


def from_ovn(site: Site, frame: bytes) -> None:
    port = site.node.vsctl("get", "Interface", PATCH, "ofport")
    bridge = f"unix:{site.node.state}/{BRIDGE}.mgmt"
    run("ovs-ofctl", "-O", "OpenFlow13", "packet-out", bridge, f"in_port={port} packet={frame.hex()} actions=table")


def dumped(site: Site) -> list[str]:
    """All flows of the bridge."""
    return run("ovs-ofctl", "-O", "OpenFlow13", "dump-flows", f"unix:{site.node.state}/{BRIDGE}.mgmt").splitlines()


def flows(site: Site) -> list[str]:
    return [line for line in dumped(site) if ROUTER in line and "icmp6" in line]


def heard(wire: socket.socket, last: tuple[str, int]) -> set[tuple[str, int]]:
    """Who has said what, until something is heard. A packet socket has the VLAN's tag beside the frame."""
    found: set[tuple[str, int]] = set()
    while last not in found:
        frame = wire.recv(2000)
        if int.from_bytes(frame[12:14]) == frames.IPV6:
            found.add((frames.text(frame[6:12]), frame[54]))
    return found


async def test_the_router_is_not_heard_and_guests_are(site: Site, egress: None, wire: socket.socket) -> None:
    await asyncio.to_thread(eventually, lambda: len(flows(site)) == 3, "flows in the bridge")
    for source in (ROUTER, GUEST):
        for kind in (ROUTER_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT, ECHO_REQUEST):
            from_ovn(site, said(source, kind))
    found = await asyncio.to_thread(heard, wire, (GUEST, ECHO_REQUEST))
    assert {kind for source, kind in found if source == ROUTER} == {ECHO_REQUEST}, "what it routes must pass"
    assert {kind for source, kind in found if source == GUEST} == {134, 135, 136, 128}


async def test_flows_that_are_lost_come_back_and_no_others_go(site: Site, egress: None) -> None:
    management = f"unix:{site.node.state}/{BRIDGE}.mgmt"
    await asyncio.to_thread(eventually, lambda: len(flows(site)) == 3, "flows in the bridge")
    run("ovs-ofctl", "-O", "OpenFlow13", "del-flows", management)
    run("ovs-ofctl", "-O", "OpenFlow13", "add-flow", management, "priority=0,actions=normal")
    await asyncio.to_thread(eventually, lambda: len(flows(site)) == 3, "flows again")
    assert "priority=0 actions=NORMAL" in "\n".join(dumped(site))


async def test_strays_go_nowhere_and_teach_nothing(site, egress, journal, wire):
    neighbour, stranger = "02:76:6e:00:00:0c", "02:76:6e:00:00:0d"
    await entry_of(journal, mac=neighbour, container="c2")
    guest = await entry_of(journal)
    await asyncio.to_thread(eventually, lambda: MAC in dropped_for(site), "a flow for the guest")
    await journal.remove(guest.id)
    wire.send(said(MAC, ECHO_REQUEST))
    await asyncio.to_thread(eventually, lambda: site.learned().get((MAC, VLAN)) == NIC, "the guest known elsewhere")
    for source in (stranger, ROUTER, neighbour):  # the first is of another node
        from_ovn(site, said(source, ECHO_REQUEST, MAC))
    found = await asyncio.to_thread(heard, wire, (neighbour, ECHO_REQUEST))
    assert {source for source, kind in found if kind == ECHO_REQUEST} == {ROUTER, neighbour}
    assert (stranger, VLAN) not in site.learned()
    assert site.learned()[neighbour, VLAN] == PATCH


async def test_a_guest_is_forgotten_some_time_after_it_has_gone(site, egress, journal, wire, monkeypatch):
    monkeypatch.setattr("virtnet.node.egress.STRAY_SECONDS", 0.3)
    guest = await entry_of(journal)
    await asyncio.to_thread(eventually, lambda: MAC in dropped_for(site), "a flow for the guest")
    await journal.remove(guest.id)
    await asyncio.to_thread(eventually, lambda: MAC not in dropped_for(site), "no flow any more")
    from_ovn(site, said(GUEST, ECHO_REQUEST, MAC))
    await asyncio.to_thread(heard, wire, (GUEST, ECHO_REQUEST))


def dropped_for(site: Site) -> str:
    """All flows that drop what is for a guest."""
    return "\n".join(line for line in dumped(site) if "dl_dst" in line and "drop" in line)

"""What the Vpcs' routers say by neighbour discovery stays within the node: in a real bridge, heard on the wire."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv6Address

import pytest

from tests.attach.rig import eventually, run
from tests.underlay.conftest import BRIDGE, NETWORK, PATCH, Site
from virtnet.node import frames
from virtnet.node.frames import NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, ROUTER_ADVERTISEMENT
from virtnet.node.quiet import Quiet
from virtnet.ovn.mappings import MACS, chassis_mac
from virtnet.ovn.vswitch import VSwitch

ROUTER = chassis_mac("chassis-x", NETWORK)
GUEST = "02:76:6e:00:00:0a"
ECHO_REQUEST = 128
VLAN = 100


@pytest.fixture
async def quiet(site: Site) -> AsyncIterator[None]:
    vswitch = await VSwitch.connect(site.node.ovsdb, "br-int")
    await vswitch.set_external_ids({MACS: f"other:02:00:00:00:00:01,{NETWORK}:{ROUTER}"})
    task = asyncio.create_task(Quiet(vswitch, site.node.state, repeat=0.2).run())
    yield
    task.cancel()
    await vswitch.close()


@pytest.fixture
def wire(site: Site) -> Iterator[socket.socket]:
    with site.listen() as wire:
        yield wire


def said(source: str, kind: int) -> bytes:
    """An ICMPv6 message on a VLAN."""
    group = IPv6Address("ff02::1")
    packet = frames._ipv6(IPv6Address("fe80::1"), group, struct.pack("!BBHI", kind, 0, 0, 0) + bytes(16))
    return frames._ethernet(frames._multicast(group), frames.octets(source), VLAN, frames.IPV6, packet)


def from_ovn(site: Site, frame: bytes) -> None:
    port = site.node.vsctl("get", "Interface", PATCH, "ofport")
    bridge = f"unix:{site.node.state}/{BRIDGE}.mgmt"
    run("ovs-ofctl", "-O", "OpenFlow13", "packet-out", bridge, f"in_port={port} packet={frame.hex()} actions=table")


def flows(site: Site) -> list[str]:
    told = run("ovs-ofctl", "-O", "OpenFlow13", "dump-flows", f"unix:{site.node.state}/{BRIDGE}.mgmt")
    return [line for line in told.splitlines() if ROUTER in line]


def heard(wire: socket.socket, last: tuple[str, int]) -> set[tuple[str, int]]:
    """Who has said what, until something is heard. A packet socket has the VLAN's tag beside the frame."""
    found: set[tuple[str, int]] = set()
    while last not in found:
        frame = wire.recv(2000)
        if int.from_bytes(frame[12:14]) == frames.IPV6:
            found.add((frames.text(frame[6:12]), frame[54]))
    return found


@pytest.mark.system
async def test_the_router_is_not_heard_and_guests_are(site: Site, quiet: None, wire: socket.socket) -> None:
    await asyncio.to_thread(eventually, lambda: len(flows(site)) == 3, "flows in the bridge")
    for source in (ROUTER, GUEST):
        for kind in (ROUTER_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT, ECHO_REQUEST):
            from_ovn(site, said(source, kind))
    found = await asyncio.to_thread(heard, wire, (GUEST, ECHO_REQUEST))
    assert {kind for source, kind in found if source == ROUTER} == {ECHO_REQUEST}, "what it routes must pass"
    assert {kind for source, kind in found if source == GUEST} == {134, 135, 136, 128}


@pytest.mark.system
async def test_flows_that_are_lost_come_back_and_no_others_go(site: Site, quiet: None) -> None:
    management = f"unix:{site.node.state}/{BRIDGE}.mgmt"
    await asyncio.to_thread(eventually, lambda: len(flows(site)) == 3, "flows in the bridge")
    run("ovs-ofctl", "-O", "OpenFlow13", "del-flows", management)
    run("ovs-ofctl", "-O", "OpenFlow13", "add-flow", management, "priority=0,actions=normal")
    await asyncio.to_thread(eventually, lambda: len(flows(site)) == 3, "flows again")
    assert "NORMAL" in run("ovs-ofctl", "-O", "OpenFlow13", "dump-flows", management)

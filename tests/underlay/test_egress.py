"""What must not leave a node, and what must, in a real bridge, heard on the wire."""

import asyncio
import re
import socket
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from tests.attach.rig import eventually, run
from tests.underlay.conftest import BRIDGE, MAC, NETWORK, NIC, PATCH, VLAN, Site, entry_of
from virtnet.api.addresses import mac_octets
from virtnet.node import frames
from virtnet.node.egress import Egress
from virtnet.node.frames import NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, ROUTER_ADVERTISEMENT
from virtnet.node.journal import Journal
from virtnet.ovn.mappings import MACS
from virtnet.ovn.vswitch import VSwitch
from virtnet.topology.names import chassis_mac

ROUTER = chassis_mac("chassis-x", NETWORK)
GUEST = "02:76:6e:00:00:0b"
ECHO_REQUEST = 128

pytestmark = pytest.mark.system


SELDOM = pytest.mark.parametrize("egress", [3600.0], indirect=True)
"""All flows are not sent again while the test runs."""


@pytest.fixture
async def egress(site: Site, journal: Journal, request: pytest.FixtureRequest) -> AsyncIterator[None]:
    vswitch = await VSwitch.connect(site.node.ovsdb, "br-int")
    await vswitch.set_external_ids({MACS: f"other:02:00:00:00:00:01,{NETWORK}:{ROUTER}"})
    repeat = getattr(request, "param", 0.2)
    task = asyncio.create_task(Egress(vswitch, journal, site.node.state, repeat).run())
    yield
    task.cancel()
    await vswitch.close()


def said(source: str, kind: int, to: str = "") -> bytes:
    """An ICMPv6 message on a VLAN, to all or to one."""
    group = IPv6Address("ff02::1")
    packet = frames._ipv6(IPv6Address("fe80::1"), group, struct.pack("!BBHI", kind, 0, 0, 0) + bytes(16))
    destination = mac_octets(to) if to else frames._multicast(group)
    return frames._ethernet(destination, mac_octets(source), VLAN, frames.IPV6, packet)


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


@SELDOM
async def test_a_nic_that_comes_or_goes_costs_its_own_flows(
    site: Site, egress: None, journal: Journal, tmp_path: Path
) -> None:
    """However many there are: a node has hundreds."""
    macs = [f"02:76:6e:00:01:{number:02x}" for number in range(20)]
    for mac in macs:
        await entry_of(journal, mac=mac, container=mac)
    await known(site, *macs)
    with changes(site, tmp_path / "changes") as changed:
        guest = await entry_of(journal, container="c1")
        await known(site, MAC)
        await journal.remove(guest.id)
        await asyncio.to_thread(nudge, site)
        await asyncio.to_thread(eventually, lambda: "DELETED" in changed(), "its flow goes")
        await entry_of(journal, mac=GUEST, container="c2")
        await known(site, GUEST)
        await asyncio.to_thread(eventually, lambda: GUEST in changed(), "the next guest")
        events = re.findall(r"event=(\w+).*?(dl_src|dl_dst)=(\S+)", changed().split(GUEST)[0])
    assert sorted(events) == [("ADDED", "dl_dst", MAC), ("ADDED", "dl_src", MAC), ("DELETED", "dl_src", MAC)]


@SELDOM
async def test_a_switch_that_was_restarted_has_all_flows_again(site: Site, egress: None, journal: Journal) -> None:
    await entry_of(journal)
    await known(site, MAC)
    switch, management = site.node.daemons["vswitchd"], site.node.state / f"{BRIDGE}.mgmt"
    switch.stop()
    switch.start()
    await asyncio.to_thread(eventually, management.exists, "the bridge again")
    await known(site, MAC)
    assert len(flows(site)) == 3


async def test_strays_go_nowhere_and_teach_nothing(
    site: Site, egress: None, journal: Journal, wire: socket.socket
) -> None:
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


async def test_a_guest_is_forgotten_some_time_after_it_has_gone(
    site: Site, egress: None, journal: Journal, wire: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
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


async def known(site: Site, *macs: str) -> None:
    """Wait for flows of these, which are looked for once the node's switch has changed."""
    await asyncio.to_thread(nudge, site)
    await asyncio.to_thread(eventually, lambda: all(mac in "\n".join(dumped(site)) for mac in macs), "flows")


def nudge(site: Site) -> None:
    """A change in the switch's database, as each NIC that comes or goes is one."""
    site.node.vsctl("set", "Open_vSwitch", ".", f"external_ids:nudge={time.monotonic_ns()}")


@contextmanager
def changes(site: Site, path: Path) -> Iterator[Callable[[], str]]:
    """What the bridge tells of flows that come, go, or are set again."""
    management = f"unix:{site.node.state}/{BRIDGE}.mgmt"
    with path.open("w") as file:
        command = ["ovs-ofctl", f"--unixctl={path}.ctl", "monitor", management, "watch:"]
        watching = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        eventually(lambda: ROUTER in path.read_text(), "what there is already")
        before = len(path.read_text())
        yield lambda: path.read_text()[before:]
    finally:
        watching.kill()
        watching.wait()

"""A NIC that no switch of OVN's has: a real OVN answers its DHCP, and tells it the router, over the physical network."""

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address, ip_address

import pytest

from tests.attach.rig import SECONDS, eventually
from tests.safety.attached import plug
from tests.safety.conftest import Chassis
from tests.safety.spoken import UDP, datagram, octets, v4
from tests.safety.wire import heard, wire
from tests.topology.samples import NOWHERE, VPC, Range, port, underlay
from virtnet.api import Port
from virtnet.api.addresses import mac_octets
from virtnet.node import frames
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.difference import difference
from virtnet.topology.multicast import link_local

pytestmark = pytest.mark.system

LAN = underlay(cidr="10.66.0.0/24 fd66::/64", vlan=0, logicalGateway=True)
EVERYBODY, ALL_ROUTERS, ALL_SERVERS = "ff:ff:ff:ff:ff:ff", IPv6Address("ff02::2"), IPv6Address("ff02::1:2")
OFFER, ADVERTISE, ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT = 2, 2, 133, 134


def vf(number: int, nic: str = "sriov") -> Port:
    made = port(LAN, number)
    return made.model_copy(update={"spec": made.spec.model_copy(update={"nic": nic})})


async def write(chassis: Chassis, nic: Port, on_network: list[str], *beside: Port) -> None:
    nics = [row for one in (nic, *beside) for row in port_rows(one, LAN, NOWHERE)]
    rows = [*vpc_rows(VPC), *subnet_rows(LAN, Range.of(LAN), chassis=on_network), *nics]
    async with OvsdbNorthbound(chassis.ovn.remote("nb")) as northbound:
        await northbound.commit(difference(rows, northbound.observed()))
    chassis.settled()


@pytest.fixture
def outside(chassis: Chassis) -> Iterator[socket.socket]:
    """The physical network, where the NIC is."""
    chassis.node.vsctl("add-br", "br-rack", "--", "set", "Bridge", "br-rack", "datapath_type=netdev")
    chassis.node.vsctl("set", "Open_vSwitch", ".", "external_ids:ovn-bridge-mappings=rack:br-rack")
    plug(chassis, "out", bridge="br-rack")
    with wire(chassis.node.name, "out") as link:
        link.settimeout(0.5)
        yield link


def answered(link: socket.socket, question: bytes, holds: Callable[[bytes], bool]) -> bytes:
    """What comes to a question, which is asked again until it does."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        link.send(question)
        try:
            while True:
                if holds(frame := heard(link)):
                    return frame
        except TimeoutError:
            continue
    raise AssertionError("no answer")


def discovery(mac: str) -> bytes:
    """DHCPDISCOVER."""
    client = octets(mac)
    body = b"\x01\x01\x06\x00" + client[-4:] + bytes(20) + client + bytes(202) + b"\x63\x82\x53\x63\x35\x01\x01\xff"
    asks = struct.pack("!HHHH", 68, 67, 8 + len(body), 0) + body
    return v4(mac, asks, src="0.0.0.0", to="255.255.255.255", dst_mac=EVERYBODY, proto=UDP)


def solicitation(mac: str) -> bytes:
    """Of a router."""
    packet = frames._ipv6(link_local(mac), ALL_ROUTERS, struct.pack("!BBHI", ROUTER_SOLICITATION, 0, 0, 0))
    return frames._ethernet(frames._multicast(ALL_ROUTERS), mac_octets(mac), 0, frames.IPV6, packet)


def is_offer(frame: bytes) -> bool:
    return frame[12:14] == b"\x08\x00" and frame[23] == UDP and frame[36:38] == b"\x00\x44" and frame[42] == OFFER


def is_advertisement(frame: bytes) -> bool:
    return frame[12:14] == b"\x86\xdd" and frame[20] == socket.IPPROTO_ICMPV6 and frame[54] == ROUTER_ADVERTISEMENT


async def test_it_is_answered_over_the_physical_network(chassis: Chassis, outside: socket.socket) -> None:
    nic = vf(11)
    await write(chassis, nic, ["chassis-x", "chassis-y"])
    mac = nic.spec.mac_address
    offer = await asyncio.to_thread(answered, outside, discovery(mac), is_offer)
    assert str(ip_address(offer[58:62])) == nic.spec.addresses[0]
    assert offer[:6] == octets(mac)
    advertisement = await asyncio.to_thread(answered, outside, solicitation(mac), is_advertisement)
    assert advertisement[:6] == octets(mac)
    said = chassis.ovn.sbctl("--bare", "--columns=type", "find", "Port_Binding", f"logical_port={nic.key}")
    assert said.strip() == "external"


@pytest.mark.parametrize("answering", ["chassis-x", "chassis-y"])
async def test_other_nics_reach_it(chassis: Chassis, outside: socket.socket, answering: str) -> None:
    """From a node that answers for it, and from one that does not."""
    nic, other = vf(11), vf(12, "veth")
    await write(chassis, nic, [answering], other)
    plug(chassis, "p12", f"external_ids:iface-id={other.key}")
    chassis.ovn.nbctl("--timeout=60", "wait-until", "Logical_Switch_Port", other.key, "up=true")
    chassis.settled()
    ends = [(one.spec.mac_address, one.spec.addresses[0]) for one in (other, nic)]
    there, back = datagram(*ends[0], *ends[1]), datagram(*ends[1], *ends[0])
    with wire(chassis.node.name, "p12") as inside:
        inside.settimeout(0.5)
        await asyncio.to_thread(sent_until, inside, there, outside)
        await asyncio.to_thread(sent_until, outside, back, inside)


def sent_until(sender: socket.socket, frame: bytes, hearer: socket.socket) -> None:
    """A frame, until it is heard."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        sender.send(frame)
        try:
            while heard(hearer) != frame:
                continue
        except TimeoutError:
            continue
        return
    raise AssertionError("not heard")


async def test_it_becomes_a_nic_of_the_switch_and_back(chassis: Chassis, outside: socket.socket) -> None:
    """As a VM's NIC does that is bound in another way at its next start."""
    for kind, type_, group in (("sriov", "external", 1), ("veth", "", 0), ("sriov", "external", 1)):
        nic = vf(11, kind)
        await write(chassis, nic, ["chassis-x"])
        row = chassis.ovn.nbctl(
            "--format=csv", "--bare", "--columns=type,ha_chassis_group", "list", "Logical_Switch_Port", nic.key
        )
        found = row.strip("\n").split("\n") if row.strip() else ["", ""]
        assert (found[0], len([one for one in found[1:] if one])) == (type_, group)


async def test_a_group_follows_its_chassis(chassis: Chassis) -> None:
    def members() -> dict[str, int]:
        said = chassis.ovn.nbctl("--bare", "--columns=chassis_name,priority", "list", "HA_Chassis").split("\n\n")
        return {name: int(priority) for name, priority in (one.split() for one in said if one.strip())}

    nic = vf(11)
    await write(chassis, nic, ["a", "b", "c", "d", "e"])
    before = members()
    assert sorted(before.values()) == [1, 2, 3]
    best = max(before, key=lambda name: before[name])
    await write(chassis, nic, [one for one in "abcde" if one != best])
    after = members()
    assert best not in after
    assert sorted(before, key=lambda name: before[name])[:-1] == sorted(after, key=lambda name: after[name])[1:]
    await write(chassis, nic, [])
    eventually(lambda: members() == {}, "nobody is left")

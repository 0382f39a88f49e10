"""What administrators let NICs do on layer 2, on a real OVN: tags, foreign MACs and other protocols, and nothing else."""

import asyncio
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from tests.attach.rig import eventually, run
from tests.safety.attached import plug
from tests.safety.conftest import Chassis
from tests.safety.spoken import DISCOVERY, UDP, attacks, datagram, octets, tagged, udp, v4
from tests.safety.wire import arriving, heard, names, wire
from tests.topology.samples import NOWHERE, VPC, Range, port
from virtnet.api import ClusterSubnet
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.difference import difference

CIDRS = ["10.10.0.0/24", "fd10::/64"]
TRUNK, PEER, OTHER, OUT = 11, 12, 13, 200
OUTSIDE, NESTED = "0a:00:00:00:00:77", "0a:00:00:00:00:99"
EVERYBODY = "ff:ff:ff:ff:ff:ff"
PLACES: dict[str, dict[str, Any]] = {
    "overlay": {},
    "underlay": {"providerNetwork": "rack", "gateways": ["10.10.0.1", "fd10::1"]},
    "underlay on a VLAN": {"providerNetwork": "rack", "vlan": 100, "gateways": ["10.10.0.1", "fd10::1"]},
}
VMS = ["demo/vm11", "demo/vm12"]
TAGS = {"vlanTrunks": [{"vms": VMS, "vlans": [{"id": 200}, {"minID": 204, "maxID": 206}]}]}
EXEMPT = {"portSecurity": {"exempt": ["demo/vm11"]}}
TAGGED = {"tag 200", "tag 205, from another network", "tag 200 to all"}
OWN_MAC = {"another's address", "LLDP", "LACP", "PPPoE"}
FOREIGN = OWN_MAC | {"nested MAC"}
RESERVED = {"LLDP", "LACP"}
TO_ALL = v4(OUTSIDE, udp(7, 4712), src="192.168.7.3", to="255.255.255.255", dst_mac=EVERYBODY, proto=UDP)


class Scene:
    """Three guests, and a machine of the physical network where there is one."""

    def __init__(self, chassis: Chassis, place: dict[str, Any]) -> None:
        self.chassis, self.place = chassis, {"cidrs": CIDRS, **place}
        of = self.subnet()
        self.nics = {number: port(of, number) for number in (TRUNK, PEER, OTHER)}
        self.macs = {number: nic.spec.mac_address for number, nic in self.nics.items()}
        self.addresses = {number: nic.spec.addresses[0] for number, nic in self.nics.items()}
        self.macs[OUT], self.addresses[OUT] = OUTSIDE, "10.10.0.200"
        self.wires: dict[int, socket.socket] = {}

    def subnet(self, **spec: Any) -> ClusterSubnet:
        return ClusterSubnet.parse({"metadata": {"name": "lan"}, "spec": {**self.place, **spec}})

    @property
    def underlay(self) -> bool:
        return "providerNetwork" in self.place

    @property
    def devices(self) -> dict[int, str]:
        return {number: f"p{number}" for number in self.nics} | ({OUT: "out"} if self.underlay else {})

    def change(self, **spec: Any) -> None:
        asyncio.run(self.permit(**spec))

    async def permit(self, **spec: Any) -> None:
        of = self.subnet(**spec)
        nics = [row for number in (TRUNK, PEER, OTHER) for row in port_rows(port(of, number), of, NOWHERE)]
        async with OvsdbNorthbound(self.chassis.ovn.remote("nb")) as northbound:
            rows = [*vpc_rows(VPC), *subnet_rows(of, Range.of(of)), *nics]
            await northbound.commit(difference(rows, northbound.observed()))
        self.chassis.settled()
        control = next(self.chassis.node.state.glob("ovs-vswitchd.*.ctl"))
        run("ovs-appctl", "-t", str(control), "revalidator/wait")  # or it goes on as it has before, for a moment

    def plug(self) -> None:
        node = self.chassis.node
        for number, nic in self.nics.items():
            plug(self.chassis, f"p{number}", f"external_ids:iface-id={nic.key}")
            self.chassis.ovn.nbctl("--timeout=60", "wait-until", "Logical_Switch_Port", nic.key, "up=true")
        if self.underlay:
            node.vsctl("add-br", "br-rack", "--", "set", "Bridge", "br-rack", "datapath_type=netdev")
            node.vsctl("set", "Open_vSwitch", ".", "external_ids:ovn-bridge-mappings=rack:br-rack")
            plug(self.chassis, "out", bridge="br-rack")
        self.chassis.settled()

    def said(self, sender: int, to: int) -> dict[str, bytes]:
        """What a guest says to another, or to all."""
        mac, whom = self.macs[sender], self.macs[to]
        own = datagram(mac, self.addresses[sender], whom, self.addresses[to])
        other = datagram(mac, "192.168.7.1", whom, "192.168.7.2")
        to_all = v4(mac, udp(7, 4712), src="192.168.7.1", to="255.255.255.255", dst_mac=EVERYBODY, proto=UDP)
        return {
            "tag 200": tagged(own, 200),
            "tag 205, from another network": tagged(other, 205),
            "tag 200 to all": tagged(to_all, 200),
            "tag 201": tagged(to_all, 201),
            "tag 0": tagged(own, 0),
            "tag 0 before 200": tagged(own, 0, 200),
            "tag 300 before 200": tagged(own, 300, 200),
            "nested MAC": datagram(NESTED, "10.10.0.99", whom, self.addresses[to]),
            "nested MAC, tag 200": tagged(datagram(NESTED, "10.10.0.99", whom, self.addresses[to]), 200),
            "another's address": datagram(mac, "10.10.0.99", whom, self.addresses[to]),
            "LLDP": octets("01:80:c2:00:00:0e") + octets(mac) + b"\x88\xcc" + bytes(50),
            "LACP": octets("01:80:c2:00:00:02") + octets(mac) + b"\x88\x09" + bytes(50),
            "PPPoE": octets(EVERYBODY) + octets(mac) + b"\x88\x63" + bytes(50),
        }

    def discovery(self, sender: int) -> bytes:
        """What a DHCP client sends first."""
        mac = octets(self.macs[sender])
        body = b"\x01\x01\x06\x00" + mac[-4:] + bytes(20) + mac + bytes(202) + b"\x63\x82\x53\x63\x35\x01\x01\xff"
        asks = struct.pack("!HHHH", 68, 67, 8 + len(body), 0) + body
        return v4(self.macs[sender], asks, src="0.0.0.0", to="255.255.255.255", dst_mac=EVERYBODY, proto=UDP)

    def heard(self, sender: int, to: int, said: Mapping[str, bytes] | None = None) -> set[str]:
        asked = dict(said or self.said(sender, to))
        last = datagram(self.macs[sender], self.addresses[sender], self.macs[to], self.addresses[to])
        arriving(self.wires[sender], self.wires[to], (), last)  # what others have been told before
        return names(asked, arriving(self.wires[sender], self.wires[to], asked.values(), last))

    def heard_outside(self, sender: int) -> set[str]:
        """Of what a guest says to all, or to a machine outside."""
        vlan = self.place.get("vlan", 0)
        asked = self.said(sender, OUT)
        last = datagram(self.macs[sender], self.addresses[sender], OUTSIDE, "10.10.0.200")
        outer = {name: tagged(frame, vlan) if vlan else frame for name, frame in asked.items()}
        found = arriving(
            self.wires[sender], self.wires[OUT], asked.values(), last, tagged(last, vlan) if vlan else last
        )
        return names(outer, found)

    def said_outside(self, to: int, said: Mapping[str, bytes]) -> set[str]:
        """What of this arrives from outside."""
        vlan = self.place.get("vlan", 0)
        last = datagram(OUTSIDE, "10.10.0.200", self.macs[to], self.addresses[to])
        outer = {name: tagged(frame, vlan) if vlan else frame for name, frame in said.items()}
        found = arriving(self.wires[OUT], self.wires[to], outer.values(), tagged(last, vlan) if vlan else last, last)
        return names(dict(said), found)


@pytest.fixture(params=PLACES)
def scene(chassis: Chassis, request: pytest.FixtureRequest) -> Iterator[Scene]:
    found = Scene(chassis, PLACES[request.param])
    asyncio.run(found.permit())
    found.plug()
    with ExitStack() as stack:
        for number, device in found.devices.items():
            found.wires[number] = stack.enter_context(wire(chassis.node.name, device))
        yield found


@pytest.mark.system
def test_a_trunk_has_its_tags_and_no_other(scene: Scene) -> None:
    """Another NIC neither sends nor hears tagged frames."""
    assert scene.heard(TRUNK, PEER) == set()
    scene.change(**TAGS)
    assert scene.heard(TRUNK, PEER) == scene.heard(PEER, TRUNK) == TAGGED | OWN_MAC
    assert scene.heard(TRUNK, OTHER) == OWN_MAC
    assert scene.heard(OTHER, PEER) == set()
    if scene.underlay:
        assert scene.heard_outside(TRUNK) == (TAGGED | OWN_MAC) - RESERVED
        outside = {f"tag {tag}": tagged(TO_ALL, tag) for tag in (200, 201, 206)}
        assert scene.said_outside(TRUNK, outside) == {"tag 200", "tag 206"}
        assert scene.said_outside(OTHER, outside) == set()
    scene.change()
    assert scene.heard(TRUNK, PEER) == set()


@pytest.mark.system
def test_all_nics_may_have_all_tags(scene: Scene) -> None:
    scene.change(vlanTrunks=[{"vlans": [{"minID": 1, "maxID": 4094}]}])
    every = TAGGED | OWN_MAC | {"tag 201", "tag 300 before 200"}
    assert scene.heard(TRUNK, PEER) == scene.heard(OTHER, PEER) == every


@pytest.mark.system
def test_who_is_exempt_says_what_it_likes(scene: Scene) -> None:
    """And is sent what is for its nested machines, once they have been heard; nobody else is."""
    scene.change(**EXEMPT)
    assert scene.heard(TRUNK, PEER) == scene.heard(TRUNK, OTHER) == FOREIGN
    assert scene.heard(OTHER, PEER) == set()
    if scene.underlay:
        assert scene.heard_outside(TRUNK) == FOREIGN - RESERVED
    to_nested = {"to it": datagram(scene.macs[PEER], scene.addresses[PEER], NESTED, "10.10.0.99")}
    assert scene.heard(PEER, TRUNK, to_nested) == {"to it"}
    assert scene.heard(PEER, OTHER, to_nested) == set()
    scene.change(**EXEMPT, **TAGS)
    assert scene.heard(TRUNK, PEER) == FOREIGN | TAGGED | {"nested MAC, tag 200"}
    scene.change(portSecurity={"enabled": False})
    assert scene.heard(TRUNK, PEER) == scene.heard(OTHER, PEER) == FOREIGN
    scene.change()
    assert scene.heard(TRUNK, PEER) == set()


@pytest.mark.system
def test_only_routers_are_heard_as_routers_within_tags_too(scene: Scene) -> None:
    mac, (address, _) = scene.macs[TRUNK], scene.nics[TRUNK].spec.addresses
    to, (victim, victim6) = scene.macs[PEER], scene.nics[PEER].spec.addresses
    plain = {name: one for name, one in attacks(mac, address, to, victim, victim6).items() if name not in DISCOVERY}
    within = {tag: {name: tagged(frame, tag) for name, frame in plain.items()} for tag in (200, 201)}

    def heard_as_router() -> list[bool]:
        """Untagged, in a VLAN of its trunk, and in another."""
        each = [(scene.heard(TRUNK, PEER, said), said.keys()) for said in (plain, within[200], within[201])]
        assert all(found in (set(), said) for found, said in each)
        return [bool(found) for found, _ in each]

    scene.change(**EXEMPT, **TAGS)
    assert heard_as_router() == [False, False, False]
    scene.change(**EXEMPT, **TAGS, routers=["demo/vm11"])
    assert heard_as_router() == [True, True, False]
    scene.change(vlanTrunks=[{"vms": ["demo/vm12"], "vlans": [{"id": 200}]}], routers=["demo/vm11"])
    assert heard_as_router() == [True, False, False]


@pytest.mark.system
def test_dhcp_is_answered_without_a_tag_only(scene: Scene) -> None:
    """Within a VLAN OVN would tell a client this Subnet's address."""
    scene.change(**TAGS, **EXEMPT)
    wire, asks = scene.wires[TRUNK], scene.discovery(TRUNK)
    wire.send(tagged(asks, 200))
    wire.send(asks)
    while octets(scene.macs[TRUNK]) != (answer := heard(wire))[:6]:
        pass
    assert answer[12:14] == b"\x08\x00"
    assert scene.heard(TRUNK, PEER, {"asked": tagged(asks, 200)}) == set()
    scene.change(**TAGS, **EXEMPT, dhcp={"enabled": False})
    assert scene.heard(TRUNK, PEER, {"asked": tagged(asks, 200)}) == {"asked"}


@pytest.mark.system
@pytest.mark.parametrize("scene", ["underlay"], indirect=True)
def test_a_provider_bridge_lets_reserved_addresses_out_where_it_is_told_to(scene: Scene) -> None:
    scene.change(**EXEMPT)
    assert scene.heard_outside(TRUNK) == FOREIGN - RESERVED
    node = scene.chassis.node
    run("ovs-vsctl", f"--db={node.ovsdb}", "set", "Bridge", "br-rack", "other-config:forward-bpdu=true")
    eventually(lambda: scene.heard_outside(TRUNK) == FOREIGN, "reserved addresses let out")

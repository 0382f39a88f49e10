"""Guests to whom the site gives addresses, on a real OVN: what passes between them and the physical network."""

import pytest

from tests.safety.attached import attach
from tests.safety.conftest import Chassis
from tests.safety.spoken import UDP, datagram, octets, own, udp, v4
from tests.safety.test_router_messages import OUTSIDE
from tests.safety.wire import arriving, names, wire
from tests.topology.samples import underlay
from virtnet.node.frames import announcements, question

EVERYBODY, SERVER, ELSEWHERE = "ff:ff:ff:ff:ff:ff", "10.5.0.2", "0a:00:00:00:00:99"
HIS, HERS = "10.5.0.11", "10.5.0.12"
"""What the site has given the two."""


def to_all(mac: str, source: int, destination: int, address: str) -> bytes:
    return v4(mac, udp(source, destination), src=address, to="255.255.255.255", dst_mac=EVERYBODY, proto=UDP)


@pytest.mark.system
def test_its_dhcp_server_is_asked_and_heard_and_guests_are_no_servers(chassis: Chassis) -> None:
    of = underlay("site", "", dhcp={"enabled": False})
    sender, victim = attach(chassis, of, outside=True)
    mac, to = sender.spec.mac_address, victim.spec.mac_address
    said = {
        "a DHCP client's question": to_all(mac, 68, 67, "0.0.0.0"),
        "its address, told to all": announcements(mac, [HIS], 0)[1],
        "its IPv6 address, told to all": announcements(mac, ["fd05::11"], 0)[1],
        "a question for its neighbour": question(mac, "fd05::12", 0),
        "PPPoE": octets(EVERYBODY) + octets(mac) + b"\x88\x63" + bytes(50),
        "from any address": datagram(mac, "192.168.7.1", to, HERS),
    }
    forged = {
        "another MAC": datagram(ELSEWHERE, HIS, to, HERS),
        "another MAC, told to all": announcements(ELSEWHERE, [HIS], 0)[1],
        "a server's answer to all": to_all(mac, 67, 68, HIS),
        "a server's answer": v4(mac, udp(67, 68), src=HIS, to=HERS, dst_mac=to, proto=UDP),
    }
    answers = {
        "the server's answer to all": to_all(OUTSIDE, 67, 68, SERVER),
        "the server's answer": v4(OUTSIDE, udp(67, 68), src=SERVER, to=HERS, dst_mac=to, proto=UDP),
        "who has the guest's address": announcements(OUTSIDE, [SERVER], 0)[1],
    }
    with (
        wire(chassis.node.name, "p1") as one,
        wire(chassis.node.name, "p2") as two,
        wire(chassis.node.name, "out") as out,
    ):
        last = datagram(mac, HIS, to, HERS)
        assert names(said | forged, arriving(one, two, [*said.values(), *forged.values()], last)) == said.keys()
        mine = own(mac, HIS, "fd05::11", to, HERS, "fd05::12")
        assert names(mine, arriving(one, two, mine.values(), last)) == mine.keys()
        outwards = {name: frame for name, frame in said.items() if frame[0] & 1}
        away = datagram(mac, HIS, OUTSIDE, SERVER)
        assert names(said | forged, arriving(one, out, [*said.values(), *forged.values()], away)) == outwards.keys()
        inwards = datagram(OUTSIDE, SERVER, to, HERS)
        assert names(answers, arriving(out, two, answers.values(), inwards)) == answers.keys()

"""A guest sends as somebody else, in every form, on a real OVN: nobody hears it."""

import socket
import struct

import pytest

from tests.safety.attached import attach
from tests.safety.conftest import Chassis
from tests.safety.spoken import ICMPV6, UDP, checksum, datagram, octets, udp, v4, v6
from tests.safety.test_router_messages import PLACES
from tests.safety.wire import arriving, names, wire
from virtnet.topology.multicast import link_local

OTHER, EVERYBODY = "02:00:00:00:00:aa", "ff:ff:ff:ff:ff:ff"
GATEWAY, GATEWAY6 = "10.10.0.1", "fd10::1"
REQUEST, REPLY, REVERSE_REQUEST = 1, 2, 3


def ethernet(source: str, to: str, kind: int, payload: bytes) -> bytes:
    return octets(to) + octets(source) + struct.pack("!H", kind) + payload


def arp(what: int, source: str, mac: str, address: str, to: str) -> bytes:
    """From ``source``, of a MAC that has an address."""
    told = octets(mac) + socket.inet_aton(address) + octets(EVERYBODY) + socket.inet_aton(to)
    return ethernet(
        source,
        EVERYBODY,
        0x8035 if what == REVERSE_REQUEST else 0x0806,
        struct.pack("!HHBBH", 1, 0x0800, 6, 4, what) + told,
    )


def neighbour(source: str, src: str, target: str) -> bytes:
    """An advertisement that overrides: whoever hears it sends to the target's address here."""
    body = (
        struct.pack("!BBHI", 136, 0, 0, 0xA0000000)
        + socket.inet_pton(socket.AF_INET6, target)
        + b"\x02\x01"
        + octets(source)
    )
    ends = socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, "ff02::1")
    summed = checksum(ends + struct.pack("!II", len(body), ICMPV6) + body)
    return v6(source, body[:2] + struct.pack("!H", summed) + body[4:], to="ff02::1", proto=ICMPV6, ttl=255, src=src)


def spoofed(mac: str, address: str, address6: str, to: str, victim: str, victim6: str) -> dict[str, bytes]:
    own = str(link_local(mac))
    said = {
        "another MAC": v4(OTHER, udp(1, 9999), src=address, to=victim, dst_mac=to, proto=UDP),
        "the victim's MAC": v4(to, udp(1, 9999), src=victim, to=victim, dst_mac=to, proto=UDP),
        "the gateway's address": v4(mac, udp(1, 9999), src=GATEWAY, to=victim, dst_mac=to, proto=UDP),
        "no address": v4(mac, udp(1, 9999), src="0.0.0.0", to=victim, dst_mac=to, proto=UDP),
        "another's address of IPv6": v6(mac, udp(1, 9999), src=GATEWAY6, to=victim6, dst_mac=to, proto=UDP, ttl=64),
        "another's link-local address": v6(
            mac, udp(1, 9999), src=str(link_local(OTHER)), to=victim6, dst_mac=to, proto=UDP, ttl=64
        ),
        "ARP for the gateway": arp(REPLY, mac, mac, GATEWAY, victim),
        "ARP for the victim, to all": arp(REQUEST, mac, mac, victim, victim),
        "ARP of another MAC": arp(REQUEST, mac, OTHER, address, victim),
        "neighbour advertisement for the gateway": neighbour(mac, own, GATEWAY6),
        "... from another": neighbour(mac, str(link_local(OTHER)), GATEWAY6),
        "RARP from the victim's MAC": arp(REVERSE_REQUEST, to, to, "0.0.0.0", "0.0.0.0"),
    }
    plain = datagram(mac, GATEWAY, to, victim)
    for name, tags in (
        ("untagged", ()),
        ("tagged", (0x8100, 100)),
        ("... within", (0x8100, 7)),
        ("twice", (0x88A8, 100, 0x8100, 7)),
    ):
        said[name] = plain[:12] + struct.pack(f"!{len(tags)}H", *tags) + plain[12:]  # the kernel takes off one
    return said


def mine(mac: str, address: str, address6: str, to: str, victim: str, victim6: str) -> dict[str, bytes]:
    return {
        "datagram of IPv6": v6(mac, udp(1, 9999), src=address6, to=victim6, dst_mac=to, proto=UDP, ttl=64),
        "announcement": arp(REPLY, mac, mac, address, address),
        "neighbour advertisement": neighbour(mac, address6, address6),
    }


@pytest.mark.system
@pytest.mark.parametrize("place", PLACES)
def test_nobody_is_heard_as_somebody_else(chassis: Chassis, place: str) -> None:
    of = PLACES[place]
    sender, victim = attach(chassis, of)
    ends = (sender.spec.mac_address, *sender.spec.addresses, victim.spec.mac_address, *victim.spec.addresses)
    said, own = spoofed(*ends), mine(*ends)
    last = datagram(ends[0], ends[1], ends[3], ends[4])
    with wire(chassis.node.name, "p1") as one, wire(chassis.node.name, "p2") as two:
        assert names(said, arriving(one, two, said.values(), last)) == set()
        assert names(own, arriving(one, two, own.values(), last)) == own.keys()

"""Frames of a guest: what only routers and servers send, in every form, and what looks like it and is a guest's own."""

import socket
import struct
from ipaddress import ip_address
from typing import Any

from virtnet.topology.multicast import link_local

Given = dict[str, Any]
HOP_BY_HOP, FRAGMENT, ICMPV6, DESTINATION = 0, 44, 58, 60
UDP, IGMP, ICMP = 17, 2, 1
ALL_NODES = "ff02::1"
ATOMIC, FIRST, LAST = 0, 1, 0x51
"""Offset and flag of a fragment: one that is all of a packet, the first of several, and the one after 80 octets."""
DISCOVERY = frozenset(
    {
        "router advertisement",
        "... to one",
        "... in an atomic fragment",
        "... in two atomic fragments",
        "... after options",
        "MLD query",
    }
)
"""Attacks that OVN lets pass before all ACLs. Open vSwitch in userspace takes an atomic fragment for none."""


def v6(mac: str, payload: bytes, *, to: str, proto: int, ttl: int, dst_mac: str = "", src: str = "") -> bytes:
    """From a guest's own link-local address, or the one that it has."""
    destination = ip_address(to).packed
    whom = octets(dst_mac) if dst_mac else b"\x33\x33" + destination[-4:]
    head = struct.pack("!IHBB", 6 << 28, len(payload), proto, ttl)
    source = ip_address(src).packed if src else link_local(mac).packed
    return whom + octets(mac) + b"\x86\xdd" + head + source + destination + payload


def v4(mac: str, payload: bytes, *, src: str, to: str, proto: int, dst_mac: str, fragment: int = 0) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 7, fragment, 64, proto, 0)
    address = socket.inet_aton(src) + socket.inet_aton(to)
    head = head[:10] + struct.pack("!H", checksum(head + address)) + address
    return octets(dst_mac) + octets(mac) + b"\x08\x00" + head + payload


def octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


def icmp(kind: int, size: int = 72) -> bytes:
    return struct.pack("!BBH", kind, 0, 0) + bytes(size)


def udp(source: int, destination: int, size: int = 240) -> bytes:
    return struct.pack("!HHHH", source, destination, 8 + size, 0) + bytes(size)


def fragment(inner: int, flags: int, payload: bytes) -> bytes:
    return struct.pack("!BBHI", inner, 0, flags, 4711) + payload


def options(inner: int, payload: bytes, *, length: int = 8) -> bytes:
    """A header of options, all of them padding, which may be longer than what is there of it."""
    return struct.pack("!BBBB", inner, length // 8 - 1, 1, 4) + bytes(4) + payload


def attacks(mac: str, v4_address: str, victim: str, victim_v4: str, victim_v6: str) -> dict[str, bytes]:
    """What to call it, and its frames."""
    ra = icmp(134)
    all_: Given = {"to": ALL_NODES, "ttl": 255}
    said = {
        "router advertisement": v6(mac, ra, proto=ICMPV6, **all_),
        "... to one": v6(mac, ra, proto=ICMPV6, to=victim_v6, ttl=255, dst_mac=victim),
        "... in an atomic fragment": v6(mac, fragment(ICMPV6, ATOMIC, ra), proto=FRAGMENT, **all_),
        "... in two atomic fragments": v6(
            mac, fragment(FRAGMENT, ATOMIC, fragment(ICMPV6, ATOMIC, ra)), proto=FRAGMENT, **all_
        ),
        "... in fragments": v6(mac, fragment(ICMPV6, FIRST, ra), proto=FRAGMENT, **all_),
        "... after options": v6(mac, options(DESTINATION, options(ICMPV6, ra)), proto=HOP_BY_HOP, **all_),
        "... after options, in fragments": v6(
            mac, fragment(DESTINATION, FIRST, options(ICMPV6, ra)), proto=FRAGMENT, **all_
        ),
        "... after a whole fragment of options": v6(
            mac, fragment(DESTINATION, FIRST, options(ICMPV6, bytes(72), length=80)), proto=FRAGMENT, **all_
        ),
        "... after options that end in another fragment": v6(
            mac, fragment(DESTINATION, FIRST, options(ICMPV6, bytes(72), length=160)), proto=FRAGMENT, **all_
        ),
        "redirect of IPv6": v6(mac, icmp(137), proto=ICMPV6, to=victim_v6, ttl=255, dst_mac=victim),
        "... in an atomic fragment, too": v6(
            mac, fragment(ICMPV6, ATOMIC, icmp(137)), proto=FRAGMENT, to=victim_v6, ttl=255, dst_mac=victim
        ),
        "MLD query": v6(mac, options(ICMPV6, icmp(130)), proto=HOP_BY_HOP, to=ALL_NODES, ttl=1),
        "... in fragments, too": v6(mac, fragment(ICMPV6, FIRST, icmp(130)), proto=FRAGMENT, to=ALL_NODES, ttl=1),
        "DHCPv6 answer": v6(mac, udp(547, 546), proto=UDP, to=victim_v6, ttl=64, dst_mac=victim),
        "... from another port": v6(mac, udp(5555, 546), proto=UDP, to=victim_v6, ttl=64, dst_mac=victim),
    }
    own: Given = {"src": v4_address}
    everybody = "ff:ff:ff:ff:ff:ff"
    one: Given = {"to": victim_v4, "dst_mac": victim}
    said |= {
        "DHCPv4 answer": v4(mac, udp(67, 68), to="255.255.255.255", dst_mac=everybody, proto=UDP, **own),
        "... to one client": v4(mac, udp(67, 68), proto=UDP, **one, **own),
        "... to one client, from another port": v4(mac, udp(5555, 68), proto=UDP, **one, **own),
        "... in a fragment": v4(
            mac, udp(67, 68), to="255.255.255.255", dst_mac=everybody, proto=UDP, fragment=0x2000, **own
        ),
        "redirect of IPv4": v4(mac, icmp(5), proto=ICMP, **one, **own),
        "router advertisement of IPv4": v4(mac, icmp(9), proto=ICMP, **one, **own),
        "IGMP query": v4(mac, icmp(0x11), to="224.0.0.1", dst_mac="01:00:5e:00:00:01", proto=IGMP, **own),
    }
    return said


def own(mac: str, v4_address: str, v6_address: str, victim: str, victim_v4: str, victim_v6: str) -> dict[str, bytes]:
    """What every guest may send, and what such drops must not meet."""
    to_v6: Given = {"to": victim_v6, "ttl": 64, "dst_mac": victim, "src": v6_address}
    to_v4: Given = {"to": victim_v4, "dst_mac": victim, "src": v4_address}
    return {
        "echo of IPv6": v6(mac, icmp(128), proto=ICMPV6, **to_v6),
        "a large one's first fragment": v6(mac, fragment(ICMPV6, FIRST, icmp(128)), proto=FRAGMENT, **to_v6),
        "its last": v6(mac, fragment(ICMPV6, LAST, icmp(0)), proto=FRAGMENT, **to_v6),
        "datagram of IPv6 in fragments": v6(mac, fragment(UDP, FIRST, udp(53, 9999)), proto=FRAGMENT, **to_v6),
        "neighbour advertisement": v6(
            mac,
            icmp(136, 4) + ip_address(v6_address).packed,
            proto=ICMPV6,
            to=victim_v6,
            ttl=255,
            dst_mac=victim,
            src=v6_address,
        ),
        "MLD report": v6(mac, options(ICMPV6, icmp(143)), proto=HOP_BY_HOP, to="ff02::16", ttl=1),
        "echo of IPv4": v4(mac, icmp(8), proto=ICMP, **to_v4),
        "datagram of IPv4 in fragments": v4(mac, udp(53, 9999), proto=UDP, fragment=0x2000, **to_v4),
        "to a DHCP server": v4(mac, udp(67, 67), proto=UDP, **to_v4),
        "IGMP report": v4(mac, icmp(0x22), to="224.0.0.22", dst_mac="01:00:5e:00:00:16", proto=IGMP, src=v4_address),
    }


def tagged(frame: bytes, *tags: int) -> bytes:
    """The same in a VLAN, or in one within another."""
    return frame[:12] + b"".join(struct.pack("!HH", 0x8100, tag) for tag in tags) + frame[12:]


def datagram(mac: str, address: str, to: str, victim: str) -> bytes:
    """What is sent last, to hear that all before it have been switched."""
    return v4(mac, udp(4711, 4712), src=address, to=victim, dst_mac=to, proto=UDP)

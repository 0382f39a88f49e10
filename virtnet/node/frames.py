"""Frames that tell or ask a physical network who has an address: RARP, ARP and neighbour discovery. Pure."""

import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

BROADCAST = b"\xff" * 6
ARP, RARP, VLAN, IPV6 = 0x0806, 0x8035, 0x8100, 0x86DD
ICMPV6 = 58
ROUTER_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 134, 135, 136
_ALL_NODES = IPv6Address("ff02::1")
_OVERRIDE = 0x20000000
_SHORTEST = 60


def announcements(mac: str, addresses: Iterable[str], vlan: int) -> list[bytes]:
    """What makes switches and neighbours outside believe that a NIC is where these frames come from.

    A RARP for the switches, as QEMU sends it, and for each address a gratuitous ARP (RFC 5227, section 3) or an
    unsolicited neighbour advertisement (RFC 4861, section 7.2.6) for those who have learnt it.
    """
    source = octets(mac)
    found = [_ethernet(BROADCAST, source, vlan, RARP, _arp(3, source, bytes(4), source, bytes(4)))]
    for address in map(ip_address, addresses):
        if isinstance(address, IPv4Address):
            own = address.packed
            found.append(_ethernet(BROADCAST, source, vlan, ARP, _arp(1, source, own, bytes(6), own)))
        else:
            told = (
                struct.pack("!BBHI", NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE) + address.packed + b"\x02\x01" + source
            )
            found.append(_ethernet(_multicast(_ALL_NODES), source, vlan, IPV6, _ipv6(address, _ALL_NODES, told)))
    return found


def question(mac: str, address: str, vlan: int, *, to: str = "") -> bytes:
    """Who has this address, asked by one who claims none: an ARP probe (RFC 5227) or as for DAD (RFC 4862).

    ``to``: asked of one MAC alone.
    """
    source, asked = octets(mac), ip_address(address)
    if isinstance(asked, IPv4Address):
        return _ethernet(octets(to) or BROADCAST, source, vlan, ARP, _arp(1, source, bytes(4), bytes(6), asked.packed))
    group = IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | int(asked) & 0xFFFFFF)
    body = struct.pack("!BBHI", NEIGHBOUR_SOLICITATION, 0, 0, 0) + asked.packed
    return _ethernet(octets(to) or _multicast(group), source, vlan, IPV6, _ipv6(IPv6Address(0), group, body))


def claim(frame: bytes) -> tuple[str, str] | None:
    """Address and MAC of who says in an untagged frame that it has an address; None for all other frames."""
    if len(frame) < 42:
        return None
    kind, body = int.from_bytes(frame[12:14]), frame[14:]
    if kind == ARP and body[:6] == b"\x00\x01\x08\x00\x06\x04" and any(body[14:18]):
        return str(IPv4Address(body[14:18])), text(body[8:14])
    if kind == IPV6 and len(body) >= 64 and body[6] == ICMPV6 and body[40] == NEIGHBOUR_ADVERTISEMENT:
        return str(IPv6Address(body[48:64])), text(frame[6:12])
    return None


def octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def text(mac: bytes) -> str:
    return mac.hex(":")


def _ethernet(target: bytes, source: bytes, vlan: int, kind: int, body: bytes) -> bytes:
    tag = struct.pack("!HH", VLAN, vlan) if vlan else b""
    return (target + source + tag + struct.pack("!H", kind) + body).ljust(_SHORTEST + len(tag), b"\x00")


def _arp(operation: int, sender: bytes, sender_ip: bytes, target: bytes, target_ip: bytes) -> bytes:
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + sender + sender_ip + target + target_ip


def _multicast(group: IPv6Address) -> bytes:
    return b"\x33\x33" + group.packed[-4:]


def _ipv6(source: IPv6Address, target: IPv6Address, body: bytes) -> bytes:
    """An ICMPv6 message, with its checksum, in a packet that no router passes on."""
    pseudo = source.packed + target.packed + struct.pack("!II", len(body), ICMPV6)
    body = body[:2] + struct.pack("!H", _checksum(pseudo + body)) + body[4:]
    return struct.pack("!IHBB", 6 << 28, len(body), ICMPV6, 255) + source.packed + target.packed + body


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

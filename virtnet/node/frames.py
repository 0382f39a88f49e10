"""Frames that tell or ask a physical network who has an address: RARP, ARP and neighbour discovery. Pure."""

import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from virtnet.api.addresses import mac_octets
from virtnet.api.virtual_function import VlanProtocol
from virtnet.node.checksum import checksum

BROADCAST = b"\xff" * 6
ARP, RARP, VLAN, SERVICE_VLAN, IPV6 = 0x0806, 0x8035, 0x8100, 0x88A8, 0x86DD
ICMPV6 = 58
ROUTER_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 134, 135, 136
_ALL_NODES = IPv6Address("ff02::1")
_OVERRIDE = 0x20000000
_SHORTEST = 60


def announcements(mac: str, addresses: Iterable[str], vlan: int, protocol: VlanProtocol = "802.1Q") -> list[bytes]:
    """What makes switches and neighbours outside believe that a NIC is where these frames come from.

    A RARP for the switches, as QEMU sends it, and for each address a gratuitous ARP (RFC 5227, section 3) or an
    unsolicited neighbour advertisement (RFC 4861, section 7.2.6) for those who have learnt it.
    """
    source = mac_octets(mac)
    outer = SERVICE_VLAN if protocol == "802.1ad" else VLAN
    found = [_ethernet(BROADCAST, source, vlan, RARP, _arp(3, source, bytes(4), source, bytes(4)), outer=outer)]
    for address in map(ip_address, addresses):
        if isinstance(address, IPv4Address):
            own = address.packed
            found.append(_ethernet(BROADCAST, source, vlan, ARP, _arp(1, source, own, bytes(6), own), outer=outer))
        else:
            advertisement = (
                struct.pack("!BBHI", NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE) + address.packed + b"\x02\x01" + source
            )
            found.append(
                _ethernet(
                    _multicast(_ALL_NODES), source, vlan, IPV6, _ipv6(address, _ALL_NODES, advertisement), outer=outer
                )
            )
    return found


def question(mac: str, address: str, vlan: int, *, to: str = "") -> bytes:
    """Who has this address, asked by one who claims none: an ARP probe (RFC 5227) or as for DAD (RFC 4862).

    ``to``: asked of one MAC alone.
    """
    source, target = mac_octets(mac), ip_address(address)
    if isinstance(target, IPv4Address):
        return _ethernet(
            mac_octets(to) or BROADCAST, source, vlan, ARP, _arp(1, source, bytes(4), bytes(6), target.packed)
        )
    group = IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | int(target) & 0xFFFFFF)
    body = struct.pack("!BBHI", NEIGHBOUR_SOLICITATION, 0, 0, 0) + target.packed
    return _ethernet(mac_octets(to) or _multicast(group), source, vlan, IPV6, _ipv6(IPv6Address(0), group, body))


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


def assumed(frame: bytes) -> str:
    """The address that the sender of an untagged frame has, or is about to have (RFC 4862); empty for other frames."""
    said = claim(frame)
    if said is not None:
        return said[0]
    kind, body = int.from_bytes(frame[12:14]), frame[14:]
    asks = kind == IPV6 and len(body) >= 64 and body[6] == ICMPV6 and body[40] == NEIGHBOUR_SOLICITATION
    return str(IPv6Address(body[48:64])) if asks and not any(body[8:24]) else ""


def text(mac: bytes) -> str:
    return mac.hex(":")


def _ethernet(target: bytes, source: bytes, vlan: int, kind: int, body: bytes, *, outer: int = VLAN) -> bytes:
    tag = struct.pack("!HH", outer, vlan) if vlan else b""
    return (target + source + tag + struct.pack("!H", kind) + body).ljust(_SHORTEST + len(tag), b"\x00")


def _arp(operation: int, sender: bytes, sender_ip: bytes, target: bytes, target_ip: bytes) -> bytes:
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + sender + sender_ip + target + target_ip


def _multicast(group: IPv6Address) -> bytes:
    return b"\x33\x33" + group.packed[-4:]


def _ipv6(source: IPv6Address, target: IPv6Address, body: bytes) -> bytes:
    """An ICMPv6 message, with its checksum, in a packet that no router passes on."""
    pseudo = source.packed + target.packed + struct.pack("!II", len(body), ICMPV6)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    return struct.pack("!IHBB", 6 << 28, len(body), ICMPV6, 255) + source.packed + target.packed + body

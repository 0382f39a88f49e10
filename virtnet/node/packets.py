"""Sockets that hear the frames of one device (packet(7)); the kernel itself leaves out what nobody wants."""

import array
import socket
import struct
from collections.abc import Callable, Iterable

from virtnet.api.addresses import mac_octets
from virtnet.node.checksum import checksum

OUTGOING = 4
"""The packet type, third in a received frame's address, of what the node itself sends there (PACKET_OUTGOING)."""

LARGEST = 65536 + 64
"""Bytes of a frame at most, with what the kernel says before it."""

_ALL_PROTOCOLS = 0x0003
_ATTACH_FILTER = 26
_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE, _EQUAL, _RETURN = 0x20, 0x28, 0x30, 0x15, 0x06
_PACKET_TYPE = 0xFFFFF004
"""Where classic BPF finds it (SKF_AD_OFF + SKF_AD_PKTTYPE)."""
_NEEDS_CHECKSUM = 1
_SOURCE_HIGH, _SOURCE_LOW, _ETHERTYPE, _BODY, _NEXT_HEADER, _ICMPV6_TYPE = 6, 10, 12, 14, 20, 54

Test = tuple[int, int, int, bool]
"""How to load, from where, what to compare with, and whether it must be equal."""


def listener(
    device: str,
    *,
    source: str = "",
    kind: int = 0,
    start: bytes = b"",
    other_than: int = 0,
    icmp6: int = 0,
    sent: bool = False,
    prepare: Callable[[socket.socket], None] = lambda _: None,
) -> socket.socket:
    """A socket that hears a device's frames from a MAC, of an EtherType, or of any other than one.

    ``start``: how they go on behind the EtherType; whole words of 32 bits are looked at. ``icmp6``: of IPv6, only
    ICMPv6 of this type. With ``sent``, also all that the node itself sends there. ``prepare`` gets it before it hears
    anything. In the namespace of the calling thread. Raises OSError.
    """
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        if tests := _tests(source, kind, start, other_than, icmp6):
            _attach(made, tests, sent=sent)
        prepare(made)
        made.bind((device, _ALL_PROTOCOLS))
    except BaseException:
        made.close()
        raise
    return made


def send(device: str, frames: Iterable[bytes]) -> None:
    """Send frames by a device, in the namespace of the calling thread. Raises OSError."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.bind((device, 0))
        for frame in frames:
            wire.send(frame)


def finished(header: bytes, frame: bytes) -> bytes | None:
    """A frame with the checksum that its sender has left to hardware; none where it would have to be cut into segments.

    ``header`` is its struct virtio_net_hdr, empty where there is none.
    """
    if header and header[1]:
        return None
    if not header or not header[0] & _NEEDS_CHECKSUM:
        return frame
    start, offset = struct.unpack_from("=HH", header, 6)
    filled_in = checksum(frame[start:]) or 0xFFFF  # 0 would say that there is none (RFC 768)
    return frame[: start + offset] + struct.pack("!H", filled_in) + frame[start + offset + 2 :]


def _tests(source: str, kind: int, start: bytes, other_than: int, icmp6: int) -> list[Test]:
    found: list[Test] = []
    if source:
        high, low = struct.unpack("!IH", mac_octets(source))
        found += [(_LOAD_WORD, _SOURCE_HIGH, high, True), (_LOAD_HALF, _SOURCE_LOW, low, True)]
    if kind:
        found.append((_LOAD_HALF, _ETHERTYPE, kind, True))
    for offset in range(0, len(start) - 3, 4):
        found.append((_LOAD_WORD, _BODY + offset, int.from_bytes(start[offset : offset + 4]), True))
    if other_than:
        found.append((_LOAD_HALF, _ETHERTYPE, other_than, False))
    if icmp6:
        found += [
            (_LOAD_BYTE, _NEXT_HEADER, socket.IPPROTO_ICMPV6, True),
            (_LOAD_BYTE, _ICMPV6_TYPE, icmp6, True),
        ]
    return found


def _attach(made: socket.socket, tests: list[Test], *, sent: bool) -> None:
    """A struct sock_fprog of classic BPF: each test that fails jumps to the end, which takes nothing."""
    program = array.array("B")

    def add(code: int, if_true: int, if_false: int, value: int) -> None:
        program.frombytes(struct.pack("=HBBI", code, if_true, if_false, value))

    if sent:
        add(_LOAD_BYTE, 0, 0, _PACKET_TYPE)
        add(_EQUAL, 2 * len(tests), 0, OUTGOING)
    for number, (load, offset, value, equal) in enumerate(tests, start=1):
        out = 2 * (len(tests) - number) + 1
        add(load, 0, 0, offset)
        add(_EQUAL, 0 if equal else out, out if equal else 0, value)
    add(_RETURN, 0, 0, 0xFFFF)
    add(_RETURN, 0, 0, 0)
    address, length = program.buffer_info()
    made.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("@HP", length // 8, address))

"""As much OpenFlow 1.3 as it takes to hand frames to a bridge as if they came in by one of its ports, and to drop some.

A bridge is known by its management socket, ``/run/openvswitch/BRIDGE.mgmt``.
"""

import asyncio
import struct
from collections.abc import Iterable
from pathlib import Path

from virtnet.node.frames import ICMPV6, IPV6, octets

_VERSION = 4
_HELLO, _ERROR, _PACKET_OUT, _FLOW_MOD, _BARRIER_REQUEST, _BARRIER_REPLY = 0, 1, 13, 14, 20, 21
_ADD, _DELETE = 0, 3
_ALL_TABLES, _ANY = 0xFF, 0xFFFFFFFF
_ETH_SRC, _ETH_TYPE, _IP_PROTO, _ICMPV6_TYPE = 4, 5, 10, 29
_PRIORITY = 1000
_NO_BUFFER = 0xFFFFFFFF
_NORMAL = 0xFFFFFFFA
_SECONDS = 2.0


async def inject(management: Path, in_port: int, frames: Iterable[bytes]) -> None:
    """Let a bridge switch frames that seem to come in by a port: it learns from them, and sends them on.

    Raises OSError and TimeoutError.
    """
    await _told(management, [_packet_out(in_port, frame) for frame in frames])


async def drop_icmpv6(management: Path, cookie: int, source: str, types: Iterable[int]) -> None:
    """Have a bridge drop ICMPv6 messages of some types from a MAC, and nothing else any more under this cookie.

    Its other flows stay. They are forgotten when Open vSwitch is restarted. Raises OSError and TimeoutError.
    """
    await _told(management, [_delete(cookie), *(_drop(cookie, octets(source), kind) for kind in types)])


async def _told(management: Path, messages: Iterable[bytes]) -> None:
    async with asyncio.timeout(_SECONDS):
        reader, writer = await asyncio.open_unix_connection(management)
        try:
            writer.write(_message(_HELLO) + b"".join(messages) + _message(_BARRIER_REQUEST))
            await _until_done(reader)
        finally:
            writer.close()


async def _until_done(reader: asyncio.StreamReader) -> None:
    while True:
        _, kind, length, _ = struct.unpack("!BBHI", await reader.readexactly(8))
        body = await reader.readexactly(length - 8)
        if kind == _ERROR:
            raise OSError(f"the bridge refuses: OpenFlow error {body[:4].hex()}")
        if kind == _BARRIER_REPLY:
            return


def _message(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("!BBHI", _VERSION, kind, 8 + len(body), 1) + body


def _packet_out(in_port: int, frame: bytes) -> bytes:
    action = struct.pack("!HHIH6x", 0, 16, _NORMAL, 0)
    return _message(_PACKET_OUT, struct.pack("!IIH6x", _NO_BUFFER, in_port, len(action)) + action + frame)


def _drop(cookie: int, source: bytes, kind: int) -> bytes:
    """A flow without instructions."""
    fields = (
        (_ETH_SRC, source),
        (_ETH_TYPE, IPV6.to_bytes(2)),
        (_IP_PROTO, ICMPV6.to_bytes()),
        (_ICMPV6_TYPE, kind.to_bytes()),
    )
    found = b"".join(struct.pack("!HBB", 0x8000, field << 1, len(value)) + value for field, value in fields)
    return _flow_mod(cookie, 0, 0, _ADD, found)


def _delete(cookie: int) -> bytes:
    """All flows with this cookie, in all tables."""
    return _flow_mod(cookie, 0xFFFFFFFFFFFFFFFF, _ALL_TABLES, _DELETE, b"")


def _flow_mod(cookie: int, mask: int, table: int, command: int, fields: bytes) -> bytes:
    match = struct.pack("!HH", 1, 4 + len(fields)) + fields
    match += bytes(-len(match) % 8)
    timeouts = (0, 0)
    head = struct.pack("!QQBBHHHIIIH2x", cookie, mask, table, command, *timeouts, _PRIORITY, _NO_BUFFER, _ANY, _ANY, 0)
    return _message(_FLOW_MOD, head + match)

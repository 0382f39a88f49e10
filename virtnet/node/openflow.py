"""As much OpenFlow 1.3 as it takes to hand frames to a bridge as if they came in by one of its ports, to drop some, and
to copy a flow that is there.

A bridge is known by its management socket, ``/run/openvswitch/BRIDGE.mgmt``.
"""

import asyncio
import struct
from collections.abc import Collection, Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from virtnet.node.frames import ICMPV6, IPV6, octets

_VERSION = 4
_HELLO, _ERROR, _PACKET_OUT, _FLOW_MOD, _BARRIER_REQUEST, _BARRIER_REPLY = 0, 1, 13, 14, 20, 21
_MULTIPART_REQUEST, _MULTIPART_REPLY, _FLOW_STATS = 18, 19, 1
_ADD, _DELETE, _DELETE_STRICT = 0, 3, 4
_ALL_TABLES, _ANY = 0xFF, 0xFFFFFFFF
_IN_PORT, _ETH_DST, _ETH_SRC, _ETH_TYPE, _IP_PROTO, _ICMPV6_TYPE = 0, 3, 4, 5, 10, 29
_APPLY_ACTIONS = 4
_NO_BUFFER = 0xFFFFFFFF
_NORMAL = 0xFFFFFFFA
_NORMALLY = struct.pack("!HHIH6x", 0, 16, _NORMAL, 0)
"""The action that switches a frame as a bridge does without any flow."""
_SECONDS = 2.0


@dataclass(frozen=True)
class Flow:
    """Frames that a bridge drops, or switches as it does without any flow."""

    priority: int
    _: KW_ONLY
    in_port: int = 0
    """0: any."""
    destination: str = ""
    """A MAC address, as the source; empty: any."""
    source: str = ""
    icmpv6: int | None = None
    """A type of ICMPv6 messages."""
    drop: bool = True


@dataclass(frozen=True)
class Installed:
    """A flow of a bridge. Its fields and instructions are as OpenFlow has them."""

    table: int
    priority: int
    fields: bytes
    instructions: bytes


def socket_of(sockets: Path, bridge: str) -> Path:
    """A bridge's socket, among those of its switch."""
    return sockets / f"{bridge}.mgmt"


def life(management: Path) -> int:
    """Another number after each start of a bridge's switch, which makes the socket anew; 0 without one."""
    try:
        return management.stat().st_mtime_ns
    except OSError:
        return 0


async def answers(management: Path) -> bool:
    """Whether a bridge's switch is at work: the kernel's datapath goes on without it, and shows nothing of that."""
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_unix_connection(management)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def inject(management: Path, in_port: int, frames: Iterable[bytes]) -> None:
    """Let a bridge switch frames that seem to come in by a port: it learns from them, and sends them on.

    Raises OSError and TimeoutError.
    """
    await _told(management, [_packet_out(in_port, frame) for frame in frames])


async def put(management: Path, cookie: int, flows: Collection[Flow], instead_of: Collection[Flow] | None) -> None:
    """Have a bridge follow flows too, in place of others, or, for None, of all that it has under this cookie.

    They are forgotten when Open vSwitch is restarted. Raises OSError, TimeoutError, and ValueError for what is no MAC.
    """
    gone = [_delete_all(cookie)] if instead_of is None else [_delete(cookie, flow) for flow in {*instead_of} - {*flows}]
    await _told(management, [*gone, *(_add(cookie, flow) for flow in flows)])


async def installed(management: Path, fields: bytes) -> list[Installed]:
    """A bridge's flows of packets with these fields, in all tables, also those that ask for more fields.

    Raises OSError and TimeoutError.
    """
    replies = await _told(management, [_flows_of(fields)])
    return [flow for body in replies for flow in _flows(body)]


async def install(management: Path, cookie: int, flows: Iterable[Installed], *, seconds: int) -> None:
    """Have a bridge follow flows for so long. Raises OSError and TimeoutError."""
    additions = [
        _flow_mod(cookie, _ADD, flow.priority, flow.fields, flow.instructions, table=flow.table, hard_timeout=seconds)
        for flow in flows
    ]
    await _told(management, additions)


async def _told(management: Path, messages: Iterable[bytes]) -> list[bytes]:
    """Returns what was asked for."""
    async with asyncio.timeout(_SECONDS):
        reader, writer = await asyncio.open_unix_connection(management)
        try:
            writer.write(_message(_HELLO) + b"".join(messages) + _message(_BARRIER_REQUEST))
            return await _until_done(reader)
        finally:
            writer.close()


async def _until_done(reader: asyncio.StreamReader) -> list[bytes]:
    replies = []
    while True:
        _, kind, length, _ = struct.unpack("!BBHI", await reader.readexactly(8))
        body = await reader.readexactly(length - 8)
        if kind == _ERROR:
            raise OSError(f"the bridge refuses: OpenFlow error {body[:4].hex()}")
        if kind == _MULTIPART_REPLY:
            replies.append(body)
        if kind == _BARRIER_REPLY:
            return replies


def _message(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("!BBHI", _VERSION, kind, 8 + len(body), 1) + body


def _packet_out(in_port: int, frame: bytes) -> bytes:
    return _message(_PACKET_OUT, struct.pack("!IIH6x", _NO_BUFFER, in_port, len(_NORMALLY)) + _NORMALLY + frame)


def _add(cookie: int, flow: Flow) -> bytes:
    instructions = b"" if flow.drop else struct.pack("!HH4x", _APPLY_ACTIONS, 8 + len(_NORMALLY)) + _NORMALLY
    return _flow_mod(cookie, _ADD, flow.priority, _match(flow), instructions)


def _delete(cookie: int, flow: Flow) -> bytes:
    return _flow_mod(cookie, _DELETE_STRICT, flow.priority, _match(flow))


def _delete_all(cookie: int) -> bytes:
    """All flows with this cookie, in all tables."""
    return _flow_mod(cookie, _DELETE, 0, b"", table=_ALL_TABLES, mask=0xFFFFFFFFFFFFFFFF)


def _flows_of(fields: bytes) -> bytes:
    head = struct.pack("!HH4xB3xII4xQQ", _FLOW_STATS, 0, _ALL_TABLES, _ANY, _ANY, 0, 0)
    return _message(_MULTIPART_REQUEST, head + _framed(fields))


def _flows(reply: bytes) -> Iterator[Installed]:
    """Those in one part of an answer."""
    rest = reply[8:]
    while rest:
        length, table, priority = struct.unpack_from("!HBx8xH", rest)
        entry, rest = rest[48:length], rest[length:]
        (match_length,) = struct.unpack_from("!2xH", entry)
        yield Installed(table, priority, entry[4:match_length], entry[match_length + -match_length % 8 :])


def _match(flow: Flow) -> bytes:
    """Its fields, each after those it depends on."""
    fields: list[tuple[int, bytes]] = []
    if flow.in_port:
        fields.append((_IN_PORT, flow.in_port.to_bytes(4)))
    if flow.destination:
        fields.append((_ETH_DST, octets(flow.destination)))
    if flow.source:
        fields.append((_ETH_SRC, octets(flow.source)))
    if flow.icmpv6 is not None:
        fields += [
            (_ETH_TYPE, IPV6.to_bytes(2)),
            (_IP_PROTO, ICMPV6.to_bytes()),
            (_ICMPV6_TYPE, flow.icmpv6.to_bytes()),
        ]
    return b"".join(struct.pack("!HBB", 0x8000, field << 1, len(value)) + value for field, value in fields)


def _framed(fields: bytes) -> bytes:
    """Fields as a match."""
    match = struct.pack("!HH", 1, 4 + len(fields)) + fields
    return match + bytes(-len(match) % 8)


def _flow_mod(
    cookie: int,
    command: int,
    priority: int,
    fields: bytes,
    instructions: bytes = b"",
    *,
    table: int = 0,
    mask: int = 0,
    hard_timeout: int = 0,
) -> bytes:
    timeouts = (0, hard_timeout)
    head = struct.pack("!QQBBHHHIIIH2x", cookie, mask, table, command, *timeouts, priority, _NO_BUFFER, _ANY, _ANY, 0)
    return _message(_FLOW_MOD, head + _framed(fields) + instructions)

"""As much OpenFlow 1.3 as it takes to hand frames to a bridge as if they came in by one of its ports, to drop some, to
copy a flow that is there, and to find those of one's own.

A bridge is known by its management socket, ``/run/openvswitch/BRIDGE.mgmt``.
"""

import asyncio
import socket
import struct
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from virtnet.node.flows import SOURCE, Flow, Installed, fields_of

_VERSION = 4
_HELLO, _ERROR, _PACKET_OUT, _FLOW_MOD, _BARRIER_REQUEST, _BARRIER_REPLY = 0, 1, 13, 14, 20, 21
_MULTIPART_REQUEST, _MULTIPART_REPLY, _FLOW_STATS = 18, 19, 1
_ADD, _DELETE, _DELETE_STRICT = 0, 3, 4
_ALL_TABLES, _ANY, _WHOLE = 0xFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_APPLY_ACTIONS = 4
_NO_BUFFER = 0xFFFFFFFF
_NORMAL = 0xFFFFFFFA
_NORMALLY = struct.pack("!HHIH6x", 0, 16, _NORMAL, 0)
"""The action that switches a frame as a bridge does without any flow."""
_SECONDS = 2.0


def socket_of(sockets: Path, bridge: str) -> Path:
    """A bridge's socket, among those of its switch."""
    return sockets / f"{bridge}.mgmt"


def process_of(management: Path) -> int:
    """Of a bridge's switch. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(management))
        pid, _, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)


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
    await _exchange(management, [_packet_out(in_port, frame) for frame in frames])


async def sources(management: Path, fields: Collection[bytes]) -> list[str]:
    """The MACs that a bridge has flows of, from which packets with these fields come, whatever else they have.

    Raises OSError and TimeoutError.
    """
    found = set()
    for flow in await installed(management, b"".join(fields)):
        more = [field for field in flow.each_field() if field not in fields]
        if len(more) == 1 and more[0].startswith(SOURCE):
            found.add(more[0][len(SOURCE) :].hex(":"))
    return sorted(found)


async def put(management: Path, cookie: int, flows: Collection[Flow], instead_of: Collection[Flow] | None) -> None:
    """Have a bridge follow flows too, in place of others, or, for None, of all that it has under this cookie.

    They are forgotten when Open vSwitch is restarted. Raises OSError, TimeoutError, and ValueError for what is no MAC.
    """
    gone = [_delete_all(cookie)] if instead_of is None else [_delete(cookie, flow) for flow in {*instead_of} - {*flows}]
    await _exchange(management, [*gone, *(_add(cookie, flow) for flow in flows)])


async def remove(management: Path, cookie: int, flows: Iterable[Installed]) -> None:
    """Have a bridge forget flows of its first table that it has under this cookie. Raises OSError and TimeoutError."""
    each = [_flow_mod(cookie, _DELETE_STRICT, one.priority, one.fields, mask=_WHOLE) for one in flows]
    await _exchange(management, each)


async def under(management: Path, cookie: int) -> list[Installed]:
    """A bridge's flows under this cookie. Raises OSError and TimeoutError."""
    replies = await _exchange(management, [_flows_of(b"", cookie)])
    return [flow for body in replies for flow in _flows(body)]


async def installed(management: Path, fields: bytes) -> list[Installed]:
    """A bridge's flows of packets with these fields, in all tables, also those that ask for more fields.

    Raises OSError and TimeoutError.
    """
    replies = await _exchange(management, [_flows_of(fields)])
    return [flow for body in replies for flow in _flows(body)]


async def install(management: Path, cookie: int, flows: Iterable[Installed], *, seconds: int) -> None:
    """Have a bridge follow flows for so long. Raises OSError and TimeoutError."""
    additions = [
        _flow_mod(cookie, _ADD, flow.priority, flow.fields, flow.instructions, table=flow.table, hard_timeout=seconds)
        for flow in flows
    ]
    await _exchange(management, additions)


async def _exchange(management: Path, messages: Iterable[bytes]) -> list[bytes]:
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
    return _flow_mod(cookie, _ADD, flow.priority, fields_of(flow), instructions)


def _delete(cookie: int, flow: Flow) -> bytes:
    return _flow_mod(cookie, _DELETE_STRICT, flow.priority, fields_of(flow))


def _delete_all(cookie: int) -> bytes:
    """All flows with this cookie, in all tables."""
    return _flow_mod(cookie, _DELETE, 0, b"", table=_ALL_TABLES, mask=_WHOLE)


def _flows_of(fields: bytes, cookie: int = 0) -> bytes:
    mask = _WHOLE if cookie else 0
    head = struct.pack("!HH4xB3xII4xQQ", _FLOW_STATS, 0, _ALL_TABLES, _ANY, _ANY, cookie, mask)
    return _message(_MULTIPART_REQUEST, head + _framed(fields))


def _flows(reply: bytes) -> Iterator[Installed]:
    """Those in one part of an answer."""
    rest = reply[8:]
    while rest:
        length, table, priority = struct.unpack_from("!HBx8xH", rest)
        entry, rest = rest[48:length], rest[length:]
        (match_length,) = struct.unpack_from("!2xH", entry)
        yield Installed(table, priority, entry[4:match_length], entry[match_length + -match_length % 8 :])


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

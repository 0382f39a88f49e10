"""As much OpenFlow 1.3 as it takes to hand frames to a bridge as if they came in by one of its ports."""

import asyncio
import struct
from collections.abc import Iterable
from pathlib import Path

_VERSION = 4
_HELLO, _ERROR, _PACKET_OUT, _BARRIER_REQUEST, _BARRIER_REPLY = 0, 1, 13, 20, 21
_NO_BUFFER = 0xFFFFFFFF
_NORMAL = 0xFFFFFFFA
_SECONDS = 2.0


async def inject(management: Path, in_port: int, frames: Iterable[bytes]) -> None:
    """Let a bridge switch frames that seem to come in by a port: it learns from them, and sends them on.

    ``management``: the bridge's socket, ``/run/openvswitch/BRIDGE.mgmt``. Raises OSError and TimeoutError.
    """
    async with asyncio.timeout(_SECONDS):
        reader, writer = await asyncio.open_unix_connection(management)
        try:
            writer.write(_message(_HELLO) + b"".join(_packet_out(in_port, frame) for frame in frames))
            writer.write(_message(_BARRIER_REQUEST))
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

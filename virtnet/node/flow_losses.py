"""Hears that a bridge has lost flows: ovn-controller takes away all that its bridge has when it starts.

By Open vSwitch's flow monitor, which needs no more than OpenFlow 1.0 (nicira-ext.h, NXST_FLOW_MONITOR).
"""

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path

from virtnet.node.frames import IPV6

_VERSION = 1
_HELLO, _ERROR, _ECHO_REQUEST, _ECHO_REPLY, _STATS_REQUEST, _STATS_REPLY = 0, 1, 2, 3, 16, 17
_VENDOR, _NICIRA, _FLOW_MONITOR = 0xFFFF, 0x2320, 2
_ON_DELETE, _PORT_NONE = 1 << 2, 0xFFFF
_NXM_ETH_TYPE = 0x0000_0602


async def losses(management: Path) -> AsyncIterator[None]:
    """At first, and whenever flows of IPv6 are taken out of a bridge's first table, by whomever.

    OVN has none of these there. Ends when the bridge does. Raises OSError.
    """
    reader, writer = await asyncio.open_unix_connection(management)
    try:
        writer.write(_message(_HELLO) + _watch())
        while True:
            _, kind, length, xid = struct.unpack("!BBHI", await reader.readexactly(8))
            body = await reader.readexactly(length - 8)
            if kind == _ERROR:
                raise OSError(f"the bridge refuses: OpenFlow error {body[:4].hex()}")
            if kind == _ECHO_REQUEST:
                writer.write(struct.pack("!BBHI", _VERSION, _ECHO_REPLY, length, xid) + body)
            if kind == _STATS_REPLY:
                yield
    finally:
        writer.close()


def _watch() -> bytes:
    """Ask for the deletions of such flows (Open vSwitch's nicira-ext.h, struct nx_flow_monitor_request)."""
    match = struct.pack("!IH", _NXM_ETH_TYPE, IPV6)
    head = struct.pack("!HHIII", _VENDOR, 0, _NICIRA, _FLOW_MONITOR, 0)
    wanted = struct.pack("!IHHHB5x", 1, _ON_DELETE, _PORT_NONE, len(match), 0)
    body = head + wanted + match + bytes(-len(match) % 8)
    return _message(_STATS_REQUEST, body)


def _message(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("!BBHI", _VERSION, kind, 8 + len(body), 1) + body

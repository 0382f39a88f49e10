"""Holds the flow from a guest's old node to its new one, for what the old node's own pods send.

As long as a port belongs to two chassis, each sends what is for it on to the other. When its NIC releases the port,
ovn-controller takes that flow out, and makes it anew when the southbound database has confirmed: meanwhile, for some
milliseconds, nothing on this node reaches the guest. So a copy of that very flow is put above it first, and goes by
itself: nobody has to find it, be it after a crash or when the guest is back.

A NIC releases its port when the controller requests that, or by its DEL: the runtime may be faster where the controller
has much to do.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from virtnet.api import HandoffPath
from virtnet.node import openflow
from virtnet.node.flows import metadata, register
from virtnet.node.handoff.assignments import Assignments
from virtnet.node.journal import Entry

log = structlog.get_logger()

SECONDS = 1
"""How long the copy stays; OpenFlow knows nothing shorter. A guest that goes on to a third node takes longer."""

COOKIE = 0x7669_7274_6F6E
_APPLY_ACTIONS, _OUTPUT, _VENDOR = 4, 0, 0xFFFF
_RESUBMIT_TABLE = struct.pack("!IH", 0x2320, 14)
"""How that action of Nicira's begins."""


@dataclass(frozen=True)
class FlowHold:
    """Holds the flows to guests that leave this node."""

    assignments: Assignments
    bridge: Path | None
    """The management socket of OVN's bridge; None where it cannot be reached."""

    async def hold(self, entry: Entry) -> None:
        """Hold the flow of a NIC whose port is about to be released. Without one it is released all the same."""
        path = self.assignments.path_of(entry)
        if self.bridge is None or path is None or entry.released_at is not None:
            return
        try:
            held = await hold_flows(self.bridge, path)
        except (OSError, TimeoutError) as error:
            port = entry.attachment.port
            log.warning("this node's pods may miss the guest for a moment", port=port, error=str(error))
        else:
            log.info("flows held", port=entry.attachment.port, flows=held)


async def hold_flows(bridge: Path, path: HandoffPath) -> int:
    """Hold the flows of a port, by the management socket of OVN's bridge; returns how many those are.

    Raises OSError and TimeoutError.
    """
    fields = {metadata(path.datapath), register(15, path.port)}
    copies = [
        replace(flow, priority=flow.priority + 1, instructions=instructions)
        for flow in await openflow.installed(bridge, b"".join(fields))
        if fields <= set(flow.each_field()) and (instructions := _to_other_chassis(flow.instructions))
    ]
    await openflow.install(bridge, COOKIE, copies, seconds=SECONDS)
    return len(copies)


def _to_other_chassis(instructions: bytes) -> bytes:
    """What sends to the other chassis; empty where a flow does not.

    Whatever its table, and its further fields (OVN 26.03 has one): no other flow of a port sends and then goes on to
    another table. There is the way to the port's NIC here, or to a physical network, by which the guest would have all
    of it twice.
    """
    actions = [action for one in _parts(instructions) if _kind(one) == _APPLY_ACTIONS for action in _parts(one[8:])]
    goes_on = [one for one in actions if _kind(one) == _VENDOR and one[4:].startswith(_RESUBMIT_TABLE)]
    if not goes_on or not any(_kind(one) == _OUTPUT for one in actions):
        return b""
    rest = b"".join(one for one in actions if one not in goes_on)
    return struct.pack("!HH4x", _APPLY_ACTIONS, 8 + len(rest)) + rest


def _parts(data: bytes) -> Iterator[bytes]:
    """Each instruction, or each action."""
    while data:
        (length,) = struct.unpack_from("!2xH", data)
        yield data[:length]
        data = data[length:]


def _kind(part: bytes) -> int:
    return int.from_bytes(part[:2])

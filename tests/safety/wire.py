"""Frames on a wire: sent into one link, heard at another."""

import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.attach.rig import SECONDS
from virtnet.lab import netns

SOL_PACKET, AUXDATA, TAG_VALID = 263, 8, 1 << 4


@contextmanager
def wire(where: str, device: str) -> Iterator[socket.socket]:
    """All frames of a device of a network namespace."""

    def work() -> socket.socket:
        found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        found.setsockopt(SOL_PACKET, AUXDATA, 1)
        found.bind((device, 3))
        found.settimeout(SECONDS)
        return found

    with netns.inside(where, work) as found:
        yield found


def heard(link: socket.socket) -> bytes:
    """A frame with the tag that it has come with, which the kernel tells beside it (packet(7), struct tpacket_auxdata)."""
    frame, told, *_ = link.recvmsg(2048, socket.CMSG_SPACE(20))
    status, _, _, _, _, tag, kind = struct.unpack("=IIIHHHH", told[0][2])
    return frame[:12] + struct.pack("!HH", kind, tag) + frame[12:] if status & TAG_VALID else frame


def arriving(
    sender: socket.socket, victim: socket.socket, frames: Iterable[bytes], last: bytes, arrives_as: bytes = b""
) -> set[bytes]:
    """What comes out at the victim's end of the frames; ``last`` always does, as itself or in another form."""
    awaited, end = set(frames), arrives_as or last
    found: list[bytes] = []
    for sent in ((*awaited, last), (last,)):  # what has come in together may go out in another order
        for frame in sent:
            sender.send(frame)
        while end != (frame := heard(victim)):
            found.append(frame)
    return {*found} if arrives_as else awaited & {*found}


def names(said: dict[str, bytes], arrived: set[bytes]) -> set[str]:
    return {name for name, frame in said.items() if frame in arrived}

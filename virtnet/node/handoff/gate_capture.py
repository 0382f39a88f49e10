"""Captures at a gate: that a migrating guest has come, and what is let out to it from then on (packet(7)).

One socket hears both, so that they keep their order. The kernel shows it what goes to the guest behind the gate (the
egress hook comes before the packet sockets' taps), and what comes from the guest before it: all that is let out after
the guest's first frame has been let out to a guest that runs, and nothing that came earlier is counted.
"""

import contextlib
import errno
import socket
from dataclasses import dataclass, field

from virtnet.node.handoff.cut_over_marker import MOST_DIGESTS
from virtnet.node.packets import LARGEST, OUTGOING, finished, listener

_SOL_PACKET, _VNET_HDR, _RCVBUFFORCE = 263, 15, 33
_HEADER = 10
"""Bytes of struct virtio_net_hdr."""

_BUFFER = 1 << 20
"""For what comes while this process waits for a processor. What does not fit is not known to have been let out."""

AT_ONCE = 1024
"""Frames that are read in one go at most."""


@dataclass(eq=False)
class GateCapture:
    """Captures the frames of one guest at its gate, both ways."""

    link: socket.socket
    guest_seen: bool = False
    """Whether it has been heard, or is known from elsewhere to run here."""
    delivered: list[bytes] = field(default_factory=list)
    """Frames that were let out to it, as many as a cut-over marker can name."""

    @classmethod
    def at(cls, device: str, mac: str) -> "GateCapture":
        """In the namespace of the calling thread. Raises OSError."""
        return cls(listener(device, source=mac, sent=True, prepare=_prepare))

    def read(self) -> None:
        """Take in what there is to be heard. Raises OSError when the device is down, or gone."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(AT_ONCE):
                self._one()

    def close(self) -> None:
        self.link.close()

    def _one(self) -> None:
        try:
            data, address = self.link.recvfrom(LARGEST)
        except OSError as error:
            if error.errno != errno.EINVAL:  # that is a frame whose kind of segments has no name in the header
                raise
            return
        if address[2] != OUTGOING:
            self.guest_seen = True
        elif self.guest_seen and len(self.delivered) < MOST_DIGESTS:
            frame = finished(data[:_HEADER], data[_HEADER:])
            if frame is not None:
                self.delivered.append(frame)


def _prepare(link: socket.socket) -> None:
    """Checksums that a sender has left to hardware are finished on the source, so they must be here."""
    link.setsockopt(_SOL_PACKET, _VNET_HDR, 1)
    link.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _BUFFER)

"""Frames to a logical port on another node, by the way that OVN's own take: Geneve with OVN's option.

See ovn-architecture(7), "Tunnel Encapsulations".
So nothing has to listen on a node, MTU and encryption are those of the tunnels, and the other node's OVS judges the
frame as any of its port.
"""

import socket
import struct
from dataclasses import dataclass

from virtnet.api import HandoffPath

PORT = 6081
_CRITICAL_OPTION, _ETHERNET = 0x40, 0x6558
_OVN_CLASS, _OVN_PORTS = 0x0102, 0x80


@dataclass(frozen=True)
class PeerPort:
    """A port on another node, to which frames can be sent."""

    link: socket.socket
    header: bytes

    @classmethod
    def to(cls, path: HandoffPath, local: str) -> "PeerPort":
        """In the namespace of the calling thread, from this address of its tunnels. Raises OSError."""
        family = socket.AF_INET6 if ":" in path.remote else socket.AF_INET
        link = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            link.bind((local, 0))
            link.connect((path.remote, PORT))
        except BaseException:
            link.close()
            raise
        words_of_options = 2
        header = struct.pack("!BBHI", words_of_options, _CRITICAL_OPTION, _ETHERNET, path.datapath << 8)
        # From no port: 0 is nobody's key, so nothing is taken for a frame that comes back to its sender.
        return cls(link, header + struct.pack("!HBBI", _OVN_CLASS, _OVN_PORTS, 1, path.port))

    def send(self, frame: bytes) -> None:
        """Raises OSError."""
        self.link.send(self.header + frame)

    def close(self) -> None:
        self.link.close()

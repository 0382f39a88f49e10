"""A machine on the network of the nodes' tunnels that is sent copies of packets by GRE."""

import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

from virtnet.lab import netns
from virtnet.lab.demo.cluster import until
from virtnet.lab.lab import Lab
from virtnet.lab.nodes import PHYSICAL_BRIDGE

ADDRESS = "172.31.1.1"


@dataclass
class Collector:
    """What has come by now."""

    link: socket.socket
    _packets: list[bytes] = field(default_factory=list)

    @classmethod
    @contextmanager
    def listening(cls, lab: Lab) -> Iterator[Self]:
        def work() -> socket.socket:
            return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_GRE)

        netns.ip(lab.names.central, f"address replace {ADDRESS}/24 dev {PHYSICAL_BRIDGE}")
        with netns.inside(lab.names.central, work) as link:
            link.setblocking(False)  # noqa: FBT003 - Python's own name for it is this
            yield cls(link)

    def of(self, pattern: bytes) -> int:
        """Of packets with this in them."""
        with suppress(BlockingIOError):
            while True:
                self._packets.append(self.link.recv(65535))
        return sum(pattern in one for one in self._packets)


def answered(lab: Lab, pod: str, address: str) -> bytes:
    """What is in a ping from a pod that was answered, and in its answer."""

    def pattern() -> bytes:
        told = secrets.token_bytes(8)
        command = lab.command(["ping", "-c", "1", "-W", "1", "-p", told.hex(), address], pod=pod)
        return told if subprocess.run(command, capture_output=True, check=False).returncode == 0 else b""

    return until(pattern, f"{address} answers")

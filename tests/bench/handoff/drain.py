"""How many frames a source's queue keeps for a drain, and how fast they are carried over. No guest takes part."""

import fcntl
import os
import socket
import struct
import time

from virtnet.api import HandoffPath
from virtnet.lab import netns
from virtnet.node.handoff import geneve
from virtnet.node.handoff.geneve import PeerPort
from virtnet.node.handoff.taps import Tap

NAMESPACE = "vn-bench-drain"
SENT = 5000
SIZES = (64, 1442)
REQUEST = struct.pack("16sH22x", b"tap0", 0x0002 | 0x1000 | 0x4000)
"""TUNSETIFF: a tap with virtio-net's header and no packet information, as QEMU opens it."""


def drain() -> dict[str, float]:
    """Figures by their dotted names."""
    netns.create(NAMESPACE)
    try:
        figures: dict[str, float] = {}
        for size in SIZES:
            kept, seconds = netns.inside(NAMESPACE, lambda size=size: _once(size))  # type: ignore[misc]
            figures |= {f"drain.kept_of_{size}_bytes": kept, f"drain.per_s_of_{size}_bytes": round(kept / seconds)}
        return figures
    finally:
        netns.run("ip", "netns", "delete", NAMESPACE)


def _once(size: int) -> tuple[int, float]:
    """Frames that the queue has kept of more than it can hold, and the seconds that it took to carry them over."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, 0x400454CA, REQUEST)
    tap = Tap.of(descriptor)
    netns.run("ip", "link", "set", "tap0", "mtu", "1500", "up")
    tunnel = PeerPort.to(HandoffPath(remote="127.0.0.1", datapath=1, port=1, peer_key=""), "127.0.0.1")
    frame = bytes.fromhex("02766e000001" + "02766e000002" + "88b6").ljust(size, b"\0")
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        far.bind(("127.0.0.1", geneve.PORT))
        sender.bind(("tap0", 0))
        for _ in range(SENT):
            sender.send(frame)
        began, count = time.perf_counter(), 0
        for waiting in tap.take():
            tunnel.send(waiting)
            count += 1
        seconds = time.perf_counter() - began
    tunnel.close()
    tap.close()
    return count, seconds

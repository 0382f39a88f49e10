"""What the kernel lets a gate's capture hear, on a veth of its own."""

import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeVar
from uuid import uuid4

import pytest

from tests.attach.guest import PEER, frame
from tests.attach.samples import MAC
from virtnet.lab import netns
from virtnet.node import nft
from virtnet.node.handoff.cut_over_marker import MOST_DIGESTS
from virtnet.node.handoff.gate_capture import GateCapture
from virtnet.node.packets import listener

pytestmark = pytest.mark.system

T = TypeVar("T")
ANNOUNCED = bytes.fromhex(("ff:ff:ff:ff:ff:ff" + MAC).replace(":", "")) + b"\x80\x35" + bytes(46)
VNET_HDR = 15


class Wire:
    """``host`` and ``guest``, its two ends."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.host = self.inside(lambda: _sender("host"))
        self.guest = self.inside(lambda: _sender("guest"))
        self.got = self.inside(lambda: listener("guest", kind=0x88B6))
        self.capture = self.inside(lambda: GateCapture.at("host", MAC))

    def inside(self, work: Callable[[], T]) -> T:
        return netns.inside(self._name, work)

    def delivered(self) -> list[bytes]:
        self.capture.read()
        return self.capture.delivered

    def close(self) -> None:
        for one in (self.host, self.guest, self.got, self.capture):
            one.close()


def _sender(device: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.bind((device, 0))
    return made


@pytest.fixture
def wire() -> Iterator[Wire]:
    name = f"vnw{uuid4().hex[:6]}"
    netns.create(name)
    try:
        netns.ip(
            name,
            "link add host type veth peer name guest",
            *(f"link set {end} addrgenmode none up" for end in ("host", "guest")),
        )
        with closing(Wire(name)) as made:
            yield made
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def test_what_goes_to_the_guest_counts_from_its_first_frame_on(wire: Wire) -> None:
    wire.host.send(frame(1))
    assert wire.delivered() == []
    wire.host.send(frame(2))
    wire.guest.send(frame(3))  # not from the guest's MAC
    wire.guest.send(ANNOUNCED)
    wire.host.send(frame(4))
    wire.guest.send(ANNOUNCED)
    assert wire.delivered() == [frame(4)]


def test_it_hears_behind_the_gate_and_the_guest_before_it(wire: Wire) -> None:
    """Two processors at once: exactly what gets through is heard, and all of it after the guest."""
    with closing(wire.inside(lambda: nft.gate("host", MAC))):
        begun, enough = threading.Event(), threading.Event()

        def send() -> None:
            number = 0
            while not enough.is_set():
                number += 1
                try:
                    wire.host.send(frame(number))
                except OSError:  # ENOBUFS: the gate is shut
                    begun.set()

        sender = threading.Thread(target=send)
        sender.start()
        begun.wait()
        wire.guest.send(ANNOUNCED)
        through: list[bytes] = []
        while len(through) < MOST_DIGESTS:
            through += _next(wire.got)
        enough.set()
        sender.join()
    assert wire.capture.guest_seen is False, "it has not listened yet"
    assert wire.delivered() == through[:MOST_DIGESTS]


def test_a_full_buffer_costs_only_what_does_not_fit(wire: Wire) -> None:
    wire.capture.link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
    wire.guest.send(ANNOUNCED)
    frames = [frame(n) for n in range(50)]
    for one in frames:
        wire.host.send(one)
    heard = list(wire.delivered())
    assert 0 < len(heard) < 50
    assert heard == frames[: len(heard)]
    wire.host.send(frame(60))
    assert wire.delivered() == [*heard, frame(60)]


def test_a_checksum_left_to_hardware_is_finished(wire: Wire) -> None:
    """The source's queue has it finished, so both have the same bytes."""
    wire.host.setsockopt(263, VNET_HDR, 1)
    start = bytes.fromhex((MAC + PEER).replace(":", "") + "0800" + "4500002e0000400040110000" + "0a000001" + "0a000005")
    pseudo = struct.pack("!IIHH", 0x0A000001, 0x0A000005, 17, 26)
    data = bytes(range(18))
    left = start + struct.pack("!HHHH", 7, 7, 26, folded(pseudo)) + data
    wire.guest.send(ANNOUNCED)
    wire.host.send(struct.pack("=BBHHHH", 1, 0, 0, 0, 34, 6) + left)
    (found,) = wire.delivered()
    assert found[:40] + bytes(2) + found[42:] == left[:40] + bytes(2) + left[42:]
    assert folded(pseudo + found[34:]) == 0xFFFF


def folded(data: bytes) -> int:
    """The sum of RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_frames_of_many_segments_are_not_named(wire: Wire) -> None:
    """A drain leaves them out, too."""
    wire.host.setsockopt(263, VNET_HDR, 1)
    start = bytes.fromhex((MAC + PEER).replace(":", "") + "0800" + "4500000000004000400600000a0000010a000005")
    big = start + struct.pack("!HHIIBBHHH", 7, 7, 1, 1, 0x50, 0x10, 500, 0, 0) + bytes(3000)
    wire.guest.send(ANNOUNCED)
    wire.host.send(struct.pack("=BBHHHH", 1, 1, 54, 1000, 34, 16) + big)
    wire.host.send(bytes(10) + frame(1))
    assert wire.delivered() == [frame(1)]


def _next(link: socket.socket) -> list[bytes]:
    try:
        return [link.recv(2048)]
    except BlockingIOError:
        return []

"""The switch's end of a vhost-user socket, as far as a test looks: what QEMU says of a NIC, and the guest's frames.

It says as little as it may: QEMU maps, kicks and waits as for Open vSwitch, and no frame is ever taken from a ring.
"""

import mmap
import os
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

GET_FEATURES, SET_MEM_TABLE, SET_VRING_NUM, SET_VRING_ADDR, GET_VRING_BASE = 1, 5, 8, 9, 11
GET_PROTOCOL_FEATURES, GET_QUEUE_NUM, NET_SET_MTU = 15, 17, 20
VIRTIO_1, HAS_PROTOCOL_FEATURES, NET_MTU, NET_MULTIQUEUE = 1 << 32, 1 << 30, 1 << 3, 1 << 22
PROTOCOL_MULTIQUEUE, PROTOCOL_MTU = 1 << 0, 1 << 4
MOST_QUEUES = 8
ANSWERS = {
    GET_FEATURES: VIRTIO_1 | HAS_PROTOCOL_FEATURES | NET_MTU | NET_MULTIQUEUE,
    GET_PROTOCOL_FEATURES: PROTOCOL_MULTIQUEUE | PROTOCOL_MTU,
    GET_QUEUE_NUM: MOST_QUEUES,
}
VERSION, REPLY = 1, 1 << 2
SENT = 1
"""The ring of the first pair of queues in which the guest's own frames are."""
NET_HEADER = 12

_HEADER, _REGION, _ADDRESSES = struct.Struct("<III"), struct.Struct("<4Q"), struct.Struct("<II4Q")


@dataclass(frozen=True)
class Region:
    """A part of the guest's memory."""

    guest: int
    size: int
    qemu: int
    offset: int
    memory: mmap.mmap
    file_size: int


class Backend:
    """Connects, as Open vSwitch's ``dpdkvhostuserclient`` does."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self.mtu = 0
        self.regions: list[Region] = []
        self._lengths: dict[int, int] = {}
        self._rings: dict[int, tuple[int, int]] = {}
        """Where the descriptors of each ring are, and its list of those that are ready; QEMU's addresses."""

    def serve_until(self, what: str, true: Callable[[], object], seconds: float = 120) -> None:
        """Answer QEMU until something holds. Raises TimeoutError."""
        ends = time.monotonic() + seconds
        self._socket.settimeout(0.1)
        while not true():
            if time.monotonic() > ends:
                raise TimeoutError(what)
            try:
                header, files, *_ = socket.recv_fds(self._socket, _HEADER.size, 16)
            except TimeoutError:
                continue
            request, _, size = _HEADER.unpack(header)
            self._answer(request, self._socket.recv(size, socket.MSG_WAITALL) if size else b"", files)
            for file in files:
                os.close(file)

    def _answer(self, request: int, payload: bytes, files: list[int]) -> None:
        if request in ANSWERS:
            self._reply(request, struct.pack("<Q", ANSWERS[request]))
        elif request == GET_VRING_BASE:
            self._reply(request, payload)
        elif request == NET_SET_MTU:
            (self.mtu,) = struct.unpack("<Q", payload)
        elif request == SET_MEM_TABLE:
            places = _REGION.iter_unpack(payload[8 : 8 + len(files) * _REGION.size])
            self.regions = [_region(fields, file) for fields, file in zip(places, files, strict=True)]
        elif request == SET_VRING_NUM:
            ring, length = struct.unpack("<II", payload)
            self._lengths[ring] = length
        elif request == SET_VRING_ADDR:
            ring, _, descriptors, _, available, _ = _ADDRESSES.unpack(payload)
            self._rings[ring] = descriptors, available

    def _reply(self, request: int, payload: bytes) -> None:
        self._socket.sendall(_HEADER.pack(request, VERSION | REPLY, len(payload)) + payload)

    def frames(self) -> list[bytes]:
        """What the guest has sent so far, as it lies in its memory."""
        if SENT not in self._rings or not self.regions:
            return []
        descriptors, available = self._rings[SENT]
        (ready,) = struct.unpack("<H", self._at_qemu(available + 2, 2))
        found = []
        for slot in range(min(ready, self._lengths[SENT])):
            (head,) = struct.unpack("<H", self._at_qemu(available + 4 + 2 * slot, 2))
            address, length, _, _ = struct.unpack("<QIHH", self._at_qemu(descriptors + 16 * head, 16))
            found.append(self._at_guest(address, length)[NET_HEADER:])
        return found

    def _at_qemu(self, address: int, length: int) -> bytes:
        return _read([(one, address - one.qemu) for one in self.regions], length)

    def _at_guest(self, address: int, length: int) -> bytes:
        return _read([(one, address - one.guest) for one in self.regions], length)

    def close(self) -> None:
        self._socket.close()


def _region(fields: tuple[int, ...], file: int) -> Region:
    guest, size, qemu, offset = fields
    return Region(guest, size, qemu, offset, mmap.mmap(file, size + offset), os.fstat(file).st_size)


def _read(places: list[tuple[Region, int]], length: int) -> bytes:
    region, at = next((region, at) for region, at in places if 0 <= at < region.size)
    begin = region.offset + at
    return region.memory[begin : begin + length]

"""What a peer sees of a guest: ``python -m virtnet.lab.probe icmp|udp|tcp|frames ...`` in a pod's network namespace.

Each mode measures until it is told to end (SIGTERM, SIGINT, or the end of its standard input), and then prints one line
of JSON. It needs the standard library alone, and one thread: it shares two cores with the guests that it watches.
"""

import argparse
import contextlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from virtnet.node.checksum import checksum

SETTLE = 1.0
"""A probe that was sent in the last second before the end may still have been answered: it does not count as lost."""

LINE_SECONDS = 0.01
STALLED_SECONDS = 30.0
PACKET_OUTGOING = 4
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
SILENT_PORT = 9999
SO_TIMESTAMPNS = 35
ETH_P_ALL = 3
TCP_INFO = 11
RETRANSMITS = struct.Struct("@8B24I")  # struct tcp_info up to tcpi_total_retrans, its last field here


class End:
    """Becomes readable when it is time to end."""

    def __init__(self, *, watch_stdin: bool) -> None:
        self._reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self._watched = [self._reader, 0] if watch_stdin else [self._reader]

    def wait(self, other: socket.socket, seconds: float, *, writing: bool = False) -> tuple[bool, bool, bool]:
        """Wait for the other socket: whether it can be read, whether written, and whether it is time to end."""
        watched: list[socket.socket | int] = [other, *self._watched]
        readable, writable, _ = select.select(watched, [other] if writing else [], [], max(seconds, 0))
        end = self._reader in readable or (0 in readable and not os.read(0, 65536))
        return other in readable, other in writable, end


# ---------------------------------------------------------------------------------------------------------- icmp


@dataclass
class Echoes:
    """Which probes were answered. Times are of CLOCK_MONOTONIC; those in the result, which people compare, are not."""

    sent: dict[int, float] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)
    duplicates: int = 0
    gap_ms: float = 0.0
    gap_at: float = 0.0
    _last: float | None = None

    def send(self, number: int, moment: float) -> None:
        self.sent[number] = moment

    def answer(self, number: int, moment: float) -> None:
        """The gap is the longest time without a new answer."""
        if number not in self.sent:
            return
        if number in self.answered:
            self.duplicates += 1
            return
        self.answered.add(number)
        if self._last is not None and (moment - self._last) * 1000 > self.gap_ms:
            self.gap_ms = (moment - self._last) * 1000
            self.gap_at = time.time() - (time.monotonic() - self._last)
        self._last = moment

    def result(self, end: float) -> dict[str, Any]:
        lost = [moment for n, moment in self.sent.items() if n not in self.answered and moment <= end - SETTLE]
        behind = time.time() - time.monotonic()
        return {
            "sent": len(self.sent),
            "lost": len(lost),
            "lost_at": [round(moment + behind, 6) for moment in lost],
            "answered_at": [round(moment + behind, 6) for n, moment in self.sent.items() if n in self.answered],
            "duplicates": self.duplicates,
            "gap_ms": round(self.gap_ms, 3),
            "gap_at": round(self.gap_at, 6),
        }


@dataclass(frozen=True)
class Icmp:
    """How echoes go in one family."""

    family: socket.AddressFamily
    protocol: int
    request: int
    reply: int
    header: bool
    """Whether what is received begins with the IP header."""


ICMPV4 = Icmp(socket.AF_INET, socket.IPPROTO_ICMP, 8, 0, header=True)
ICMPV6 = Icmp(socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129, header=False)


def icmp(address: str, interval: float, end: End) -> dict[str, Any]:
    """Echo requests at exact times: a late one does not delay those after it.

    The sequence number has 16 bits; the payload has the whole number, so that long runs are told apart, too.
    """
    echoes, identity = Echoes(), os.getpid() & 0xFFFF
    kind = ICMPV6 if ":" in address else ICMPV4
    with socket.socket(kind.family, socket.SOCK_RAW, kind.protocol) as link:
        link.setblocking(False)  # noqa: FBT003
        link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
        link.connect((address, 0))
        began, number, over = time.monotonic(), 0, False
        while not over:
            now = time.monotonic()
            while began + number * interval <= now:
                with contextlib.suppress(OSError):  # no route, no neighbour: sent in vain, which is a loss
                    link.send(_echo_request(kind, identity, number))
                echoes.send(number, time.monotonic())
                number += 1
            readable, _, over = end.wait(link, began + number * interval - time.monotonic())
            if readable:
                _collect(link, kind, identity, echoes)
        return echoes.result(time.monotonic())


def _collect(link: socket.socket, kind: Icmp, identity: int, echoes: Echoes) -> None:
    while True:
        try:
            packet = link.recv(2048)
        except BlockingIOError:
            return
        except OSError:
            continue  # an ICMP error about an earlier probe
        message = packet[(packet[0] & 15) * 4 :] if kind.header else packet
        if len(message) >= 16 and message[0] == kind.reply and struct.unpack_from("!H", message, 4)[0] == identity:
            echoes.answer(struct.unpack_from("!Q", message, 8)[0], time.monotonic())


def _echo_request(kind: Icmp, identity: int, number: int) -> bytes:
    """For IPv6 the kernel fills the checksum in."""
    payload = struct.pack("!Q", number)
    head = struct.pack("!BBHHH", kind.request, 0, 0, identity, number & 0xFFFF)
    return struct.pack("!BBHHH", kind.request, 0, checksum(head + payload), identity, number & 0xFFFF) + payload


# ----------------------------------------------------------------------------------------------------------- udp


def udp(address: str, interval: float, end: End) -> dict[str, Any]:
    """Datagrams at exact times to a port where nobody listens: the guest's kernel counts them, and says little."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.setblocking(False)  # noqa: FBT003
        link.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 8 << 20)
        began, number, missed, over = time.monotonic(), 0, 0, False
        while not over:
            while began + number * interval <= time.monotonic():
                try:
                    link.sendto(b"%018d" % number, (address, SILENT_PORT))
                except OSError:  # no route, or no room
                    missed += 1
                number += 1
            _, _, over = end.wait(link, began + number * interval - time.monotonic())
    return {"sent": number - missed}


# ----------------------------------------------------------------------------------------------------------- tcp


def tcp(address: str, port: int, end: End) -> dict[str, Any]:
    """A stream that must come back as it was sent: numbered lines, one every 10 ms."""
    survived, lines, received, retransmits = True, 0, 0, 0
    try:
        opened = socket.create_connection((address, port), timeout=10)
    except OSError:
        return {"survived": False, "lines": 0, "bytes": 0, "retransmits": 0}
    with opened as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.setblocking(False)  # noqa: FBT003
        expected, unsent = bytearray(), bytearray()
        began = progress = time.monotonic()
        try:
            while survived:
                now = time.monotonic()
                while began + lines * LINE_SECONDS <= now:
                    unsent += b"%012d\n" % lines
                    lines += 1
                due = began + lines * LINE_SECONDS - time.monotonic()
                readable, writable, over = end.wait(link, due, writing=bool(unsent))
                if readable:
                    echo = link.recv(65536)
                    survived = bool(echo) and expected.startswith(echo)
                    del expected[: len(echo)]
                    received += len(echo)
                    progress = time.monotonic()
                if writable and survived:
                    count = link.send(unsent)
                    expected += unsent[:count]
                    del unsent[:count]
                if over:
                    break
                survived = survived and time.monotonic() - progress < STALLED_SECONDS
        except OSError:
            survived = False
        with contextlib.suppress(OSError):
            retransmits = _retransmits(link)
    return {"survived": survived, "lines": received // 13, "bytes": received, "retransmits": retransmits}


def _retransmits(link: socket.socket) -> int:
    raw = link.getsockopt(socket.IPPROTO_TCP, TCP_INFO, RETRANSMITS.size)
    return int(RETRANSMITS.unpack(raw)[-1])


# -------------------------------------------------------------------------------------------------------- frames


def frames(interface: str, source: str, end: End) -> dict[str, Any]:
    """When frames with packets of an address were handed to a tap, and when its guest sent any (CLOCK_REALTIME)."""
    wanted, given, sent = socket.inet_aton(source), [], []
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as link:
        link.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        link.bind((interface, ETH_P_ALL))
        over = False
        while not over:
            readable, _, over = end.wait(link, 3600)
            if readable:
                for frame, outgoing, moment in _received(link):
                    if not outgoing:
                        sent.append(moment)
                    elif _comes_from(frame, wanted):
                        given.append(moment)
    return {"times": given, "sent": sent}


def _received(link: socket.socket) -> Iterator[tuple[bytes, bool, float]]:
    """All that waits, whether it goes out, and when it did, as the kernel has it."""
    while True:
        try:
            frame, ancillary, _, address = link.recvmsg(128, 128, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = struct.unpack("@ll", data)
                yield frame, address[2] == PACKET_OUTGOING, seconds + nanoseconds / 1e9


def _comes_from(frame: bytes, source: bytes) -> bool:
    kind = frame[12:14]
    return (kind == b"\x08\x00" and frame[26:30] == source) or (kind == b"\x08\x06" and frame[28:32] == source)


def main() -> None:
    parser = argparse.ArgumentParser(prog="virtnet.lab.probe", description=__doc__)
    modes = parser.add_subparsers(dest="mode", required=True)
    for name in ("icmp", "udp"):
        one = modes.add_parser(name)
        one.add_argument("address")
        one.add_argument("--interval-ms", type=float, default=1.0)
    one = modes.add_parser("tcp")
    one.add_argument("address")
    one.add_argument("--port", type=int, default=7)
    one = modes.add_parser("frames")
    one.add_argument("--interface", required=True)
    one.add_argument("--source-ip", required=True)
    for mode in modes.choices.values():
        mode.add_argument("--no-stdin", action="store_true", help="do not end with the standard input")
    chosen = parser.parse_args()
    end = End(watch_stdin=not chosen.no_stdin)
    if chosen.mode in {"icmp", "udp"}:
        result = {"icmp": icmp, "udp": udp}[chosen.mode](chosen.address, chosen.interval_ms / 1000, end)
    elif chosen.mode == "tcp":
        result = tcp(chosen.address, chosen.port, end)
    else:
        result = frames(chosen.interface, chosen.source_ip, end)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()

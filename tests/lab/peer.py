"""The other end of a guest's TCP flow: ``peer.py GUEST ME STALLED WAY``. Lines go one way only, one each 10 ms.

``called``: the guest calls, and is sent numbered lines. ``listen``: the guest is called, and is sent them. ``talk``: the
guest is called, and sends them.

Says "flowing" once the connection is made. After a line on its standard input it ends when more has got through. In any
case when nothing has for STALLED seconds. Then a line of JSON: the longest time without progress, in seconds.
"""

import contextlib
import fcntl
import json
import select
import socket
import struct
import sys
import termios
import time

PORT = 7777
LINE = 13
ASK, SERVE = 10, 11
"""TCP ports of the guest."""


def called_by(guest: str, me: str) -> socket.socket:
    with socket.create_server((me, PORT)) as server:
        server.settimeout(15)
        with socket.create_connection((guest, ASK), timeout=10) as ask:
            ask.sendall(f"{me} {PORT}\n".encode())
            flow, _ = server.accept()
    return flow


def served_by(guest: str, what: str) -> socket.socket:
    flow = socket.create_connection((guest, SERVE), timeout=10)
    flow.sendall(f"{what}\n".encode())
    return flow


class Sending:
    """Numbered lines to the guest; what counts is what is acknowledged."""

    def __init__(self, flow: socket.socket) -> None:
        self._flow = flow
        self._sent = 0

    def through(self) -> int:
        with contextlib.suppress(BlockingIOError):  # the window is shut
            self._sent += self._flow.send(b"%012d\n" % self._sent)
        (queued,) = struct.unpack("i", fcntl.ioctl(self._flow, termios.TIOCOUTQ, bytes(4)))
        return self._sent - int(queued)


class Reading:
    """Whatever the guest sends."""

    def __init__(self, flow: socket.socket) -> None:
        self._flow = flow
        self._read = 0

    def through(self) -> int:
        with contextlib.suppress(BlockingIOError):
            self._read += len(self._flow.recv(65536))
        return self._read


def main(guest: str, me: str, stalled: float, way: str) -> None:
    flow = called_by(guest, me) if way == "called" else served_by(guest, way)
    flow.setblocking(False)  # noqa: FBT003
    lines = Reading(flow) if way == "talk" else Sending(flow)
    enough, got, gap, progress = 0, 0, 0.0, time.monotonic()
    while not got:
        got = lines.through()
        time.sleep(0.01)
    sys.stdout.write("flowing\n")
    sys.stdout.flush()
    while gap < stalled and not (enough and got > enough):
        readable, _, _ = select.select([] if enough else [sys.stdin], [], [], 0.01)
        if readable:
            enough = got + 100 * LINE
        now = lines.through()
        if now > got:
            got, progress = now, time.monotonic()
        gap = max(gap, time.monotonic() - progress)
    sys.stdout.write(json.dumps({"gap": round(gap, 3), "through": got}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4])

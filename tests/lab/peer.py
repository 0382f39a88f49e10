"""Has a guest call, and then sends it numbered lines, one each 10 ms: ``peer.py GUEST ME STALLED``.

Says "flowing" once the guest has called. After a line on its standard input it ends when more has been acknowledged.
In any case when nothing has been for STALLED seconds. Then a line of JSON: the longest time without progress, in seconds.
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


def called_by(guest: str, me: str) -> socket.socket:
    with socket.create_server((me, PORT)) as server:
        server.settimeout(15)
        with socket.create_connection((guest, 10), timeout=10) as ask:
            ask.sendall(f"{me} {PORT}\n".encode())
            flow, _ = server.accept()
    return flow


def main(guest: str, me: str, stalled: float) -> None:
    flow = called_by(guest, me)
    sys.stdout.write("flowing\n")
    sys.stdout.flush()
    flow.setblocking(False)  # noqa: FBT003
    enough, sent, acknowledged, gap, progress = 0, 0, 0, 0.0, time.monotonic()
    while gap < stalled and not (enough and acknowledged > enough):
        told, _, _ = select.select([] if enough else [sys.stdin], [], [], 0.01)
        if told:
            enough = sent + 100 * LINE
        with contextlib.suppress(BlockingIOError):  # the window is shut: what counts is what is acknowledged
            sent += flow.send(b"%012d\n" % sent)
        (queued,) = struct.unpack("i", fcntl.ioctl(flow, termios.TIOCOUTQ, bytes(4)))
        if sent - queued > acknowledged:
            acknowledged, progress = sent - queued, time.monotonic()
        gap = max(gap, time.monotonic() - progress)
    sys.stdout.write(json.dumps({"gap": round(gap, 3), "acknowledged": acknowledged}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))

"""A socket of rtnetlink: requests, and what the kernel answers."""

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from virtnet.node.rtattr import attributes_of

REQUEST, ACK = 0x1, 0x4
DONE, ERROR = 3, 2
ANSWER_SECONDS = 5

_STRICT, _EXPLAINED, _WITHOUT_REQUEST, _SOL_NETLINK = 12, 11, 10, 270
_BIGGEST = 1 << 20
_EXPLANATION_AT, _EXPLANATION = 20, 1
"""Behind the number of the error and the header of the request (NLMSGERR_ATTR_MSG)."""


class RouteSocket:
    """A socket in the network namespace of the calling thread."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", ANSWER_SECONDS, 0))
        for option in (_STRICT, _EXPLAINED, _WITHOUT_REQUEST):
            with contextlib.suppress(OSError):
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def send(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        self._socket.send(struct.pack("=IHHII", 16 + len(body), kind, REQUEST | flags, self._sequence, 0) + body)

    def answers(self) -> Iterator[tuple[int, bytes]]:
        """The type and body of each message that answers the last request."""
        while True:
            data = self._socket.recv(_BIGGEST)
            while len(data) >= 16:
                length, kind, _, sequence, _ = struct.unpack_from("=IHHII", data)
                if sequence == self._sequence:
                    yield kind, data[16:length]
                data = data[(length + 3) & ~3 :]


def refusal(error: bytes) -> OSError | None:
    """What the kernel says in the body of an ERROR; None where it says that all is well."""
    code = -int(struct.unpack_from("=i", error)[0])
    said = dict(attributes_of(error[_EXPLANATION_AT:])).get(_EXPLANATION, b"").rstrip(b"\0").decode("utf-8", "replace")
    return OSError(code, f"{os.strerror(code)}: {said}" if said else os.strerror(code)) if code else None

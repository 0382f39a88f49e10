"""The nftables tables that virtnet needs, as netlink messages: gates, and deaf NICs (linux/netfilter/nf_tables.h).

Each table is owned by the netlink socket that made it (NFT_TABLE_F_OWNER): the kernel removes it when that socket is
closed, so it never outlives its process, whatever becomes of that.
"""

import os
import socket
import struct
from collections.abc import Iterator

from virtnet.api.addresses import mac_octets

_NETLINK_NETFILTER = 12
_NFNL_BATCH_BEGIN, _NFNL_BATCH_END = 0x10, 0x11
_NFTABLES = 10
_NEWTABLE, _NEWCHAIN, _NEWRULE, _NEWSET = 0, 3, 6, 9
_NETDEV = 5
_INGRESS, _EGRESS = 0, 1
_REQUEST, _ACK, _CREATE, _EXCL, _APPEND = 0x1, 0x4, 0x400, 0x200, 0x800
_ERROR = 2
_NESTED = 0x8000
_OWNER = 2
_EVALUATED = 0x20
_IFACE_INDEX = 20
_DROP, _ACCEPT = 0, 1
_META_IIF, _META_OIF = 4, 5
_SET = "open"
_BEFORE_ALL = -300
ANSWER_SECONDS = 2


def gate(device: str, mac: str, *, shut: bool = True) -> socket.socket:
    """Let nothing out of a device until a frame from this MAC has come in by it; the socket that keeps it so.

    In the namespace of the calling thread. Without ``shut`` nothing is held back: whether the kernel could do it.
    Raises OSError when it cannot.
    """
    return _owning(list(_messages(device, mac_octets(mac), shut=shut)))


def _owning(messages: list[tuple[int, int, bytes]]) -> socket.socket:
    """The socket that owns what the messages make. Raises OSError."""
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    try:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", ANSWER_SECONDS, 0))
        link.bind((0, 0))
        _transact(link, messages)
    except BaseException:
        link.close()
        raise
    return link


def deaf(device: str) -> socket.socket:
    """Keep what a device receives from the node's own stack, for a switch in userspace has it too; the socket that
    keeps it so. Packet sockets, such a switch's among them, still hear it.

    In the namespace of the calling thread. Raises OSError.
    """
    table = f"virtnet-deaf-{device}"
    hooked = _nest(4, _number(1, _INGRESS) + _number(2, _BEFORE_ALL) + _text(3, device))
    return _owning(
        [
            (_NEWTABLE, _CREATE | _EXCL, _text(1, table) + _number(2, _OWNER)),
            (_NEWCHAIN, _CREATE, _text(1, table) + _text(3, "in") + hooked + _number(5, _DROP) + _text(7, "filter")),
        ]
    )


def _messages(device: str, mac: bytes, *, shut: bool) -> Iterator[tuple[int, int, bytes]]:
    """Type, flags and attributes of each message."""
    table = f"virtnet-{device}"
    yield _NEWTABLE, _CREATE | _EXCL, _text(1, table) + _number(2, _OWNER)
    yield (
        _NEWSET,
        _CREATE | _EXCL,
        _text(1, table)
        + _text(2, _SET)
        + _number(3, _EVALUATED)
        + _number(4, _IFACE_INDEX)
        + _number(5, 4)
        + _nest(9, _number(1, 2))
        + _number(10, 1),
    )
    for chain, hook in (("in", _INGRESS), ("out", _EGRESS)):
        hooked = _nest(4, _number(1, hook) + _number(2, _BEFORE_ALL) + _text(3, device))
        yield _NEWCHAIN, _CREATE, _text(1, table) + _text(3, chain) + hooked + _number(5, _ACCEPT) + _text(7, "filter")
    key = _number(1, 1)  # register 1
    opens = (
        _expression("payload", key + _number(2, 0) + _number(3, 6) + _number(4, 6)),  # the frame's source
        _expression("cmp", key + _number(2, 0) + _nest(3, _attribute(1, mac))),
        _expression("meta", _number(2, _META_IIF) + key),
        _expression("dynset", _number(4, 1) + _number(3, 0) + _text(1, _SET) + _number(2, 1)),
    )
    passes = (
        _expression("meta", _number(2, _META_OIF) + key),
        _expression("lookup", _number(2, 1) + _text(1, _SET) + _number(4, 1)),
        _verdict(_ACCEPT),
    )
    rules = [("in", opens), ("out", passes), *([("out", (_verdict(_DROP),))] if shut else [])]
    for chain, expressions in rules:
        yield _NEWRULE, _CREATE | _APPEND, _text(1, table) + _text(2, chain) + _nest(4, b"".join(expressions))


def _transact(link: socket.socket, messages: list[tuple[int, int, bytes]]) -> None:
    """All or nothing. Raises OSError with the kernel's reason."""
    mark = struct.pack("!BBH", 0, 0, _NFTABLES)
    batch = [_message(_NFNL_BATCH_BEGIN, _REQUEST, 0, mark)]
    for number, (kind, flags, attributes) in enumerate(messages, 1):
        body = struct.pack("!BBH", _NETDEV, 0, 0) + attributes
        batch.append(_message(_NFTABLES << 8 | kind, _REQUEST | _ACK | flags, number, body))
    batch.append(_message(_NFNL_BATCH_END, _REQUEST, len(batch), mark))
    link.send(b"".join(batch))
    waiting = set(range(1, len(messages) + 1))
    while waiting:
        for sequence, code in _answers(link.recv(65536)):
            if code:
                raise OSError(-code, os.strerror(-code), f"nftables message {sequence}")
            waiting.discard(sequence)


def _answers(data: bytes) -> Iterator[tuple[int, int]]:
    """Sequence number and error code, 0 for none, of each acknowledgement."""
    while len(data) >= 20:
        length, kind, _, sequence, _, code = struct.unpack_from("=IHHIIi", data)
        if kind == _ERROR:
            yield sequence, code
        data = data[(length + 3) & ~3 :]


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("!i", value))


def _nest(kind: int, attributes: bytes) -> bytes:
    return _attribute(kind | _NESTED, attributes)


def _expression(name: str, attributes: bytes) -> bytes:
    return _nest(1, _text(1, name) + _nest(2, attributes))


def _verdict(verdict: int) -> bytes:
    return _expression("immediate", _number(1, 0) + _nest(2, _nest(2, _number(1, verdict))))

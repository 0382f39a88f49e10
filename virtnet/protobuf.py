"""Protobuf's wire format, for messages that are little more than strings within strings.

They are read and written by hand: generated code would need protobuf's runtime beside every VM and on every node.
"""

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


class Malformed(ValueError):  # noqa: N818 - says what the message is
    """Bytes that are no message."""


def field(number: int, value: bytes | str) -> bytes:
    """A field that is a string, bytes or another message."""
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def numeric_field(number: int, value: int) -> bytes:
    """A field that is a number, or true; none below zero."""
    return _varint(number << 3 | _VARINT) + _varint(value)


def strings(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields that ``field`` writes, by their numbers. Raises Malformed."""
    return ((number, value) for number, value in _fields(message) if isinstance(value, bytes))


def numbers(message: bytes) -> Iterator[tuple[int, int]]:
    """The fields that ``numeric_field`` writes, by their numbers. Raises Malformed."""
    return ((number, value) for number, value in _fields(message) if isinstance(value, int))


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        if not number:
            raise Malformed("the message is cut off, or is none")
        if wire_type == _VARINT:
            value, at = _read_varint(message, at)
            yield number, value
            continue
        begin, at = _extent(message, at, wire_type)
        if at > len(message):
            raise Malformed("the message is cut off, or is none")
        if wire_type == _BYTES:
            yield number, message[begin:at]


def _extent(message: bytes, at: int, wire_type: int) -> tuple[int, int]:
    """Where a field's value begins and ends."""
    if wire_type == _BYTES:
        length, at = _read_varint(message, at)
        return at, at + length
    if wire_type in {_FIXED32, _FIXED64}:
        return at, at + (4 if wire_type == _FIXED32 else 8)
    raise Malformed(f"a field of wire type {wire_type}")


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    raise Malformed("a number is cut off, or is too long")

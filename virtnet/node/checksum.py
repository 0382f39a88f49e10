"""The Internet checksum (RFC 1071)."""

import struct


def checksum(data: bytes) -> int:
    """The ones' complement of the ones' complement sum of 16-bit words; an odd last byte counts as if zero followed.

    >>> hex(checksum(bytes.fromhex("0001f203f4f5f6f7")))
    '0x220d'
    """
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

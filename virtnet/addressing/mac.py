"""MAC addresses: how they are written, and how one is made."""

import hashlib
import re

PREFIX = "02:76:6e"
"""Locally administered; then "vn"."""

_FORM = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def normalise(text: str) -> str:
    """The MAC in lower case with colons.

    >>> normalise("02-00-00-00-00-0A")
    '02:00:00:00:00:0a'

    Raises ValueError for anything that cannot be a NIC's: malformed, multicast, or zero.
    """
    mac = text.lower().replace("-", ":")
    if not _FORM.fullmatch(mac):
        raise ValueError(f"{text} is not a MAC address; write it like 02:00:00:00:00:01")
    if int(mac[:2], 16) & 1:
        raise ValueError(f"{text} is a multicast address; its first byte must be even")
    if mac == "00:00:00:00:00:00":
        raise ValueError(f"{text} is no NIC's address; remove it, or choose another")
    return mac


def generate(seed: str, attempt: int = 0) -> str:
    """A MAC for a NIC: the same for the same seed and attempt."""
    digest = hashlib.sha256(f"{seed}#{attempt}".encode()).digest()
    return f"{PREFIX}:{digest[0]:02x}:{digest[1]:02x}:{digest[2]:02x}"

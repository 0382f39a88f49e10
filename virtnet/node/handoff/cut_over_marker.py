"""The cut-over marker: the frame by which a migration's target says to the source that the guest is there. Pure.

It has the handoff's secret, and after that a digest of each frame that the target has let out to the guest by then. The
source's queue holds copies of those, and must not send them on, or the guest has them twice. Digests are keyed with the
secret: nobody else can make frames that are taken for others.

A marker without digests says only that the guest is there; who knows of none looks at the secret alone.
"""

import hmac
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from virtnet.api.addresses import mac_octets

TYPE = 0x88B5
"""IEEE 802 local experimental EtherType 1."""

MOST_DIGESTS = 128
"""Digests in one marker at most: it is of 1,072 bytes then, and passes wherever IPv6 does (RFC 8200, section 5)."""

_SENDER = "02766efffffe"
_DIGEST, _COUNT, _LONGEST_KEY = 8, 2, 64


def marker(mac: str, secret: str, delivered: Sequence[bytes] = (), mtu: int = 1500) -> bytes:
    """The frame, to the guest's MAC. ``delivered``: frames that were let out, in order; ``mtu``: of the guest's NIC.

    Where they are too many, the first are named: the marker may overtake the copies of the last.
    """
    fit = max(0, min(MOST_DIGESTS, (mtu - len(secret) - _COUNT) // _DIGEST))
    named = [_digest(frame, secret) for frame in delivered[:fit]]
    start = mac_octets(mac) + bytes.fromhex(_SENDER) + TYPE.to_bytes(2, "big") + secret.encode()
    return start + len(named).to_bytes(_COUNT, "big") + b"".join(named)


def is_marker(frame: bytes, secret: str) -> bool:
    kind = frame[12:14] == TYPE.to_bytes(2, "big")
    return kind and hmac.compare_digest(frame[14 : 14 + len(secret)], secret.encode())


@dataclass(frozen=True)
class DeliveredFrames:
    """What a marker says to have been let out to the guest."""

    secret: str
    digests: Counter[bytes]

    @classmethod
    def of(cls, frame: bytes, secret: str) -> "DeliveredFrames":
        rest = frame[14 + len(secret) :]  # behind the digests, or in place of them, there may be padding
        count = min(int.from_bytes(rest[:_COUNT], "big"), (len(rest) - _COUNT) // _DIGEST)
        starts = range(_COUNT, _COUNT + count * _DIGEST, _DIGEST)
        return cls(secret, Counter(rest[start : start + _DIGEST] for start in starts))

    def take(self, frame: bytes) -> bool:
        """Whether a frame is among them; once for each time that it was let out."""
        if not self.digests:
            return False
        digest = _digest(frame, self.secret)
        if digest not in self.digests:
            return False
        self.digests[digest] -= 1
        if not self.digests[digest]:
            del self.digests[digest]
        return True


def _digest(frame: bytes, secret: str) -> bytes:
    return blake2b(frame, digest_size=_DIGEST, key=secret.encode()[:_LONGEST_KEY]).digest()

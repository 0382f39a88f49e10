"""The secrets of handoffs: the two nodes of each agree on one, and nobody else can compute it.

A node publishes a public key in its NodeNetwork's status, which its own account alone may write, and keeps the private
one on its disk. So nothing that a reader of the API sees is secret, and a node that is taken over learns the secrets of
its own handoffs only.
"""

import os
from base64 import b64decode, b64encode
from contextlib import suppress
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

log = structlog.get_logger()

FILE = "handoff.key"
_PURPOSE = b"virtnet.dev handoff"
_BYTES = 16


class UnusableKey(OSError):  # noqa: N818 - says what the key is
    """Another node's public key with which no secret can be agreed on."""


class HandoffKeys:
    """This node's key pair."""

    def __init__(self, private: X25519PrivateKey) -> None:
        self._private = private
        self._public = private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> "HandoffKeys":
        """A new pair, in memory only."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def kept_in(cls, directory: Path) -> "HandoffKeys":
        """The pair on this node's disk, made where there is none: handoffs outlast the daemon.

        Where the disk takes nothing, the pair lasts as long as the process; a handoff that outlasts it is not drained.
        """
        path = directory / FILE
        with suppress(OSError, ValueError):
            return cls(X25519PrivateKey.from_private_bytes(path.read_bytes()))
        private = X25519PrivateKey.generate()
        try:
            _write(path, private.private_bytes_raw())
        except OSError as error:
            log.warning("the key of handoffs is not kept", path=str(path), error=str(error))
        return cls(private)

    @property
    def public(self) -> str:
        """The public key, in base64."""
        return b64encode(self._public).decode()

    def secret(self, peer: str, migration: str, port: str) -> str:
        """The secret of one handoff, in hexadecimal; the node with the public key ``peer`` computes the same.

        Raises UnusableKey.
        """
        try:
            other = b64decode(peer, validate=True)
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(other))
        except ValueError as error:
            raise UnusableKey(f"public key {peer!r} of the other node cannot be used: {error}") from error
        handoff = b"\0".join((_PURPOSE, *sorted((self._public, other)), migration.encode(), port.encode()))
        return HKDF(SHA256(), length=_BYTES, salt=None, info=handoff).derive(shared).hex()


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and readable by its owner only. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)

"""An initramfs, written by ourselves: a cpio archive in the one format that the kernel reads, compressed by gzip."""

import gzip
import stat
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class InitramfsEntry:
    """A file, a directory (no content, ``S_IFDIR``) or a device."""

    path: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)

    @classmethod
    def directory(cls, path: str) -> "InitramfsEntry":
        return cls(path, stat.S_IFDIR | 0o755)

    @classmethod
    def file(cls, path: str, content: bytes, *, executable: bool = False) -> "InitramfsEntry":
        return cls(path, stat.S_IFREG | (0o755 if executable else 0o644), content)

    @classmethod
    def character_device(cls, path: str, major: int, minor: int) -> "InitramfsEntry":
        return cls(path, stat.S_IFCHR | 0o600, device=(major, minor))


def archive(entries: Iterable[InitramfsEntry]) -> bytes:
    """The compressed archive. The same entries give the same bytes."""
    parts = [_record(number, entry) for number, entry in enumerate(entries, start=1)]
    parts.append(_record(0, InitramfsEntry("TRAILER!!!", 0)))
    return gzip.compress(b"".join(parts), compresslevel=6, mtime=0)


def _record(number: int, entry: InitramfsEntry) -> bytes:
    name = entry.path.encode() + b"\0"
    links, time, checksum = 1, 0, 0
    fields = (
        number,
        entry.mode,
        *(0, 0),  # root's
        links,
        time,
        len(entry.content),
        *(0, 0),  # the device that the archive was read from
        *entry.device,
        len(name),
        checksum,
    )
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return _padded(header + name) + _padded(entry.content)


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)

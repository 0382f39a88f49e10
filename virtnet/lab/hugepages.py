"""What nodes with vhost-user NICs need of the machine: huge pages of 2 MiB for their switches. So it is while somebody
holds pages, and then as before.

Who holds them is written down: whoever comes next puts back what a process that was killed could not.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from virtnet.lab.daemon import start_of

TOTAL = Path("/proc/sys/vm/nr_hugepages")
COMPACT = Path("/proc/sys/vm/compact_memory")
RECORD = Path("/run/virtnet-huge-pages")
"""A file for each holder, with how many it has. What a reboot forgets, it has put back."""
BEFORE = ".before"
"""In RECORD: how many there were before the first holder."""
PROCESS = "process-"
"""A holder that is a process of this name's pid and start: it holds nothing once that has ended."""


class NoHugePages(Exception):  # noqa: N818 - says what is the matter
    """The machine cannot have that many; the text says why."""


@contextmanager
def huge_pages(count: int) -> Iterator[None]:
    """Have that many more, until the end of the block or of this process. Raises NoHugePages."""
    holder = f"{PROCESS}{os.getpid()}-{start_of(os.getpid())}-{uuid4().hex[:6]}"
    hold(holder, count)
    try:
        yield
    finally:
        release(holder)


def hold(holder: str, count: int) -> None:
    """Have that many more until they are released, whatever process ends. Raises NoHugePages."""
    if not os.access(TOTAL, os.W_OK):
        raise NoHugePages("vm.nr_hugepages cannot be set here: that takes root, and a /proc/sys that may be written")
    available, each = _meminfo("MemAvailable"), _meminfo("Hugepagesize")
    if count * each > available:
        raise NoHugePages(f"{count} huge pages take {count * each >> 10} MiB, and {available >> 10} MiB are available")
    with _locked():
        before = RECORD / BEFORE
        if not before.exists():
            _write(BEFORE, f"{_total()}")
        _write(holder, f"{count}")
        wanted = _wanted()
        there = _set(wanted)
        if there < wanted:
            COMPACT.write_text("1\n")
            there = _set(wanted)
        if there < wanted:
            (RECORD / holder).unlink()
            raise NoHugePages(f"vm.nr_hugepages={wanted} gives {there}: there is not that much memory in large pieces")


def release(holder: str) -> None:
    """Put them back. Nothing to do is fine."""
    with _locked():
        (RECORD / holder).unlink(missing_ok=True)


def unheld() -> int:
    """How many the machine has that nobody holds: as many as before the first holder, and after the last."""
    if not RECORD.exists():
        return _total()
    with _locked():
        return _total() - _held()


@contextmanager
def _locked() -> Iterator[None]:
    """Alone, and with no holder that has ended; at the end, as many pages as are held and were there before."""
    RECORD.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(RECORD, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in _holders():
            if path.name.startswith(PROCESS):
                pid, since, _ = path.name.removeprefix(PROCESS).split("-")
                if start_of(int(pid)) != since:
                    path.unlink()
        _settle()
        try:
            yield
        finally:
            _settle()
    finally:
        os.close(lock)


def _write(name: str, text: str) -> None:
    """Whole or not at all."""
    fresh = RECORD / ".new"
    fresh.write_text(text)
    fresh.rename(RECORD / name)


def _holders() -> list[Path]:
    return [path for path in RECORD.iterdir() if not path.name.startswith(".")]


def _wanted() -> int:
    return int((RECORD / BEFORE).read_text()) + _held()


def _held() -> int:
    return sum(int(path.read_text()) for path in _holders())


def _settle() -> None:
    before = RECORD / BEFORE
    if not before.exists():
        return
    _set(_wanted())
    if not _holders():
        before.unlink()


def _set(count: int) -> int:
    """How many there are then."""
    if _total() != count:
        TOTAL.write_text(f"{count}\n")
    return _total()


def _meminfo(what: str) -> int:
    """In KiB."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{what}:")), 0)


def _total() -> int:
    return int(TOTAL.read_text())

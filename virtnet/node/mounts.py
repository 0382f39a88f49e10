"""Directories of pods, shown to a node's switch, which follows no link in them (mount option nosymfollow).

What a container mounts is seen by nobody else: these mounts are made among those that the switch has.
"""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

from virtnet.node.threads import apart

_OWN = Path("/proc/thread-self/ns/mnt")
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
"""Of Linux 5.14 and newer with all that is used here; the same on every processor."""
_OPEN_TREE_CLONE = 0x1
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_MNT_DETACH = 0x2
_CLONE_FS, _CLONE_NEWNS = 0x200, 0x20000
_NOSYMFOLLOW = 0x200000
"""As an attribute of a mount."""
_IS_NOSYMFOLLOW = 0x2000
"""As statvfs says it."""
_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttributes(ctypes.Structure):
    """struct mount_attr."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd"))


async def show(directory: Path, at: Path, process: int) -> None:
    """Mount a directory, as a process sees it, in the place of what it was shown there. Raises OSError."""

    def work() -> None:
        hide(at)
        at.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        at.mkdir()
        _enter(process)
        source = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _mount(source, at)
        finally:
            os.close(source)

    await apart("mounts", work)


def hide(at: Path) -> None:
    """Nothing to do is fine. Raises OSError.

    With a directory go all that is mounted there among other processes' mounts.
    """
    while not _libc.umount2(os.fsencode(at), _MNT_DETACH):
        pass
    with suppress(FileNotFoundError):
        at.rmdir()


def is_shown(directory: Path, at: Path, process: int) -> bool:
    """Whether a process is shown that very directory, and follows no link in it. Raises OSError."""
    there = seen(at, process)
    try:
        return seen(directory, process).samefile(there) and bool(os.statvfs(there).f_flag & _IS_NOSYMFOLLOW)
    except FileNotFoundError:
        return False


def seen(path: Path, process: int) -> Path:
    """By which way we see what a process does."""
    return Path(f"/proc/{process}/root", path.relative_to("/"))


def _enter(process: int) -> None:
    """Be among a process's mounts, with all of this thread."""
    theirs = Path(f"/proc/{process}/ns/mnt")
    if theirs.samefile(_OWN):
        return
    handle = os.open(theirs, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check("unshare", _libc.unshare(_CLONE_FS))
        _check("setns", _libc.setns(handle, _CLONE_NEWNS))
    finally:
        os.close(handle)


def _mount(source: int, at: Path) -> None:
    """At once with its option."""
    flags = _OPEN_TREE_CLONE | _AT_EMPTY_PATH | os.O_CLOEXEC
    tree = _check("open_tree", _libc.syscall(_OPEN_TREE, source, b"", flags))
    try:
        wanted = _MountAttributes(attr_set=_NOSYMFOLLOW)
        given = (ctypes.byref(wanted), ctypes.c_size_t(ctypes.sizeof(wanted)))
        _check("mount_setattr", _libc.syscall(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, *given))
        moved = (_AT_FDCWD, os.fsencode(at), _MOVE_MOUNT_F_EMPTY_PATH)
        _check("move_mount", _libc.syscall(_MOVE_MOUNT, tree, b"", *moved))
    finally:
        os.close(tree)


def _check(name: str, outcome: int) -> int:
    if outcome < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return outcome

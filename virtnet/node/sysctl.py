"""Settings of the network namespace that the calling thread is in: those that the kernel takes by /proc/sys/net alone.

A container that is not privileged has /proc/sys read-only. Attaching takes CAP_SYS_ADMIN in any case, and with it a
thread may have a view of its own in which it is writable: it goes with the thread, and nobody else sees it.
"""

import ctypes
import errno
import os
from pathlib import Path

_MOUNTED = Path("/proc/sys")
_CLONE_NEWNS = 0x20000
_MS_REMOUNT, _MS_BIND = 0x20, 0x1000
_libc = ctypes.CDLL(None, use_errno=True)


def write(name: str, value: int) -> None:
    """``name`` as in sysctl.d(5), with slashes: net/ipv6/conf/eth0/accept_ra.

    In a thread that ends with its work (netns.inside). Raises OSError.
    """
    setting = _MOUNTED / name
    try:
        setting.write_text(str(value))
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        _make_writable()
        setting.write_text(str(value))


def _make_writable() -> None:
    _check(_libc.unshare(_CLONE_NEWNS))
    _check(_libc.mount(None, os.fsencode(_MOUNTED), None, ctypes.c_ulong(_MS_REMOUNT | _MS_BIND), None))


def _check(outcome: int) -> None:
    if outcome:
        number = ctypes.get_errno()
        raise OSError(number, f"{_MOUNTED} cannot be made writable: {os.strerror(number)}")

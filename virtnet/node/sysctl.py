"""Settings of the network namespace that the calling thread is in: those that the kernel takes by /proc/sys/net alone.

A container that is not privileged has /proc/sys read-only. Attaching takes CAP_SYS_ADMIN in any case, and with it a
thread may have a view of its own in which it is writable: it goes with the thread, and nobody else sees it.
"""

import ctypes
import errno
import os
from pathlib import Path

import structlog

log = structlog.get_logger()

_MOUNTED = Path("/proc/sys")
_CLONE_NEWNS = 0x20000
_MS_REMOUNT, _MS_BIND = 0x20, 0x1000
_libc = ctypes.CDLL(None, use_errno=True)

_OF_THE_LINK = frozenset({"addr_gen_mode", "mtu", "stable_secret", "mc_forwarding"})
"""Settings of an interface that another one is not to have, or that cannot be written."""


def copy(source: str, target: str) -> None:
    """Give one interface the settings of another, and log those that cannot be written.

    Among them is whether IPv6 is on at all, and whether router advertisements count, from which a node may have its
    default route; the kernel gives a new link what holds for links in general. In a thread that ends with its work.
    """
    refused = []
    for family in ("ipv4", "ipv6"):
        interfaces = Path("net") / family / "conf"
        for path in sorted((_MOUNTED / interfaces / source).glob("*")):
            name = str(interfaces / target / path.name)
            if path.name in _OF_THE_LINK:
                continue
            try:
                value = path.read_text()
                if (_MOUNTED / name).read_text() != value:
                    write(name, value)
            except OSError as error:
                refused.append(f"{name}: {error.strerror}")
    if refused:
        log.warning("settings not copied", source=source, target=target, refused=refused)


def write(name: str, value: int | str) -> None:
    """Write a setting. ``name`` as in sysctl.d(5), with slashes: net/ipv6/conf/eth0/accept_ra.

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

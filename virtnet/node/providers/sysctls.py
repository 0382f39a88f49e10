"""What an administrator has set for an interface below /proc/sys/net: a bridge that takes its place has it too.

Among it is whether IPv6 is on at all, and whether router advertisements count, from which a node may have its default
route; the kernel gives a new link what holds for links in general.
"""

import ctypes
import os
from pathlib import Path

import structlog

log = structlog.get_logger()

_NEW_MOUNTS = 0x20000
_RECURSIVE, _PRIVATE = 0x4000, 0x40000
_libc = ctypes.CDLL(None, use_errno=True)

ROOT = Path("/proc/sys/net")

OF_THE_LINK = frozenset({"addr_gen_mode", "mtu", "stable_secret", "mc_forwarding"})
"""What is not to be the same, or cannot be written."""


def copy(source: str, target: str) -> None:
    """In the network namespace of the calling thread, which may leave its mount namespace for good.

    What cannot be written is told of.
    """
    refused = []
    if not os.access(ROOT / "ipv4/conf/all/forwarding", os.W_OK):
        _mount_own_proc()
    for family in ("ipv4", "ipv6"):
        for path in sorted((ROOT / family / "conf" / source).glob("*")):
            there = path.parent.parent / target / path.name
            if path.name in OF_THE_LINK:
                continue
            try:
                value = path.read_text()
                if there.read_text() != value:
                    there.write_text(value)
            except OSError as error:
                refused.append(f"{there}: {error.strerror}")
    if refused:
        log.warning("settings not carried over", source=source, target=target, refused=refused)


def _mount_own_proc() -> None:
    """A container that is not privileged has /proc/sys read-only, yet may mount a /proc that only this thread sees."""
    if _libc.unshare(_NEW_MOUNTS) or _libc.mount(None, b"/", None, _RECURSIVE | _PRIVATE, None):
        return
    _libc.mount(b"proc", b"/proc", b"proc", 0, None)

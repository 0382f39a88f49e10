"""What this node's ovn-controller says over its control socket: its version, and whether it is connected.

Nothing in OVN's databases says so reliably: ``northd_internal_version`` is northd's, and upgrade guides have people
write anything there.
"""

from pathlib import Path

from virtnet.ovn.unixctl import ask

_NAME = "ovn-controller"


async def controller_version(run_dir: Path) -> str:
    """Such as ``23.03.1``; empty where none answers. ``run_dir`` is OVN's."""
    return version_in(await ask(run_dir, _NAME, "version") or "")


async def connection_status(run_dir: Path) -> str:
    """``connected`` where it is, to the southbound database; empty where none answers. ``run_dir`` is OVN's."""
    return (await ask(run_dir, _NAME, "connection-status") or "").strip()


def version_in(answer: str) -> str:
    """The version in what it says.

    >>> version_in("ovn-controller 23.03.1")
    '23.03.1'
    """
    words = answer.split()
    return words[1] if words[:1] == [_NAME] and len(words) > 1 else ""

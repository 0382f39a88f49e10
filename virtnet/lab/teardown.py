"""Ends a lab whatever state it is in: everything is found again in the kernel and in its state directory."""

import shutil
from contextlib import suppress
from pathlib import Path

from virtnet.api.vhostuser import LAUNCHER_SOCKETS
from virtnet.lab import netns
from virtnet.lab.daemon import started_below
from virtnet.lab.dpdk import release_pages
from virtnet.lab.names import ROOT, LabNames


def exists(names: LabNames) -> bool:
    """Whether anything of the lab is there."""
    return names.state.exists() or any(names.existing_namespaces())


def tear_down(names: LabNames) -> bool:
    """End processes, then remove namespaces, then files. Whether there was anything. Raises NetnsError.

    May be repeated after any failure, and after a crash of anything.
    """
    if not exists(names):
        release_pages(names.name)  # of one that was killed before it had made anything
        return False
    # By namespace first: that also finds what daemons have started, such as guests.
    netns.kill_all(names.existing_namespaces())
    # Then those outside, and those that have not got into theirs yet: whoever started them may have died meanwhile.
    netns.kill(started_below(names.state))
    # Once more, for what was about to be started in a namespace, or to make a new one.
    netns.kill_all(names.existing_namespaces())
    for name in list(names.existing_namespaces()):
        netns.run("ip", "netns", "delete", name)
    _unmount(names.state)
    shutil.rmtree(names.state, ignore_errors=True)
    release_pages(names.name)
    with suppress(OSError):  # there is none, or a real launcher's is
        Path(LAUNCHER_SOCKETS).rmdir()
    if ROOT.exists() and not any(ROOT.iterdir()):
        ROOT.rmdir()
    return True


def _unmount(directory: Path) -> None:
    """What node daemons have mounted there: directories of pods for switches."""
    places = (Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines())
    for place in [place for place in places if place.is_relative_to(directory)]:
        netns.run("umount", "--lazy", str(place))

"""Ends a lab whatever state it is in: everything is found again in the kernel and in its state directory."""

import shutil

from virtnet.lab import netns
from virtnet.lab.daemon import Daemon
from virtnet.lab.names import ROOT, LabNames


def exists(names: LabNames) -> bool:
    """Whether anything of the lab is there."""
    return names.state.exists() or any(names.existing_namespaces())


def tear_down(names: LabNames) -> bool:
    """End processes, then remove namespaces, then files. Whether there was anything. Raises NetnsError.

    May be repeated after any failure, and after a crash of anything.
    """
    if not exists(names):
        return False
    # By namespace first: that also finds what daemons have started, such as guests.
    netns.kill_all(names.existing_namespaces())
    for path in names.state.glob("**/*.pid"):
        if _ours(path.read_text()):
            Daemon(path.stem, (), path.parent).kill()
    # Once more, for what was about to be started in a namespace, or to make a new one.
    netns.kill_all(names.existing_namespaces())
    for name in list(names.existing_namespaces()):
        netns.run("ip", "netns", "delete", name)
    shutil.rmtree(names.state, ignore_errors=True)
    if ROOT.exists() and not any(ROOT.iterdir()):
        ROOT.rmdir()
    return True


def _ours(content: str) -> bool:
    """Whether a pid file is one of Daemon's: other programs write their own kind."""
    return len(content.split()) == 2

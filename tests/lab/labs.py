"""Labs of tests."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from virtnet.lab.alone import alone
from virtnet.lab.dpdk import NoDpdk
from virtnet.lab.hugepages import NoHugePages
from virtnet.lab.lab import Lab
from virtnet.lab.names import LabNames

UP: list[Lab] = []
COMPLAINING = ("controller", "webhook", "standin", "virtnet")
COMPLAINT = re.compile('"level": "(warning|error)"|\\[(warning|error) *\\]')
COMPLAINTS = 8
"""So many last ones of each process are shown."""


@contextmanager
def running(name: str, nodes: int, *, tls: bool = False, dpdk: int = 0) -> Iterator[Lab]:
    """A lab that is up; nothing of an earlier one is left, nor of this one afterwards.

    Another run of the same tests, from another checkout, has its lab to itself for as long as it needs it.
    """
    lab = Lab(name)
    with alone(name, wait=True):
        lab.down()
        try:
            lab.up(nodes, tls=tls, dpdk=dpdk)
        except (NoDpdk, NoHugePages) as problem:
            pytest.skip(str(problem))
        UP.append(lab)
        try:
            yield lab
        finally:
            UP.remove(lab)
            lab.down()


def state() -> str:
    """What the failure of a test may have come from: processes that have ended, and what the others complain of."""
    said = []
    for lab in filter(lambda lab: lab.is_up, UP):
        for name, daemon in lab.daemons.items():
            if daemon.pid is None:
                said.append(f"{lab.name}: {name} has ended:\n{daemon.last_words()}")
            elif name.endswith(COMPLAINING) and daemon.log.exists():
                lines = daemon.log.read_text(errors="replace").splitlines()
                said += [f"{lab.name}: {name}: {line}" for line in lines if COMPLAINT.search(line)][-COMPLAINTS:]
    return "\n".join(said)


def leftovers(name: str) -> list[str]:
    """All that could be left of a lab: processes by their command lines and environments, namespaces, files."""
    names = LabNames(name)
    found = [str(path) for path in (names.state,) if path.exists()]
    found += names.existing_namespaces()
    mark = f"{names.state}/".encode()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            said = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
        except OSError:
            continue
        if mark in said or f"--lab\0{name}\0".encode() in said:
            found.append(f"process {path.name}")
    return found

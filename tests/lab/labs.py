"""Labs of tests."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from virtnet.lab.alone import alone
from virtnet.lab.lab import Lab

UP: list[Lab] = []
COMPLAINING = ("controller", "webhook", "standin", "virtnet")
COMPLAINT = re.compile('"level": "(warning|error)"|\\[(warning|error) *\\]')
COMPLAINTS = 8
"""So many last ones of each process are shown."""


@contextmanager
def running(name: str, nodes: int) -> Iterator[Lab]:
    """A lab that is up; nothing of an earlier one is left, nor of this one afterwards.

    Another run of the same tests, from another checkout, has its lab to itself for as long as it needs it.
    """
    lab = Lab(name)
    with alone(name, wait=True):
        lab.down()
        lab.up(nodes)
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

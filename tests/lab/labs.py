"""Labs of tests."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from virtnet.lab.lab import Lab

LOCKS = Path("/run/lock")


@contextmanager
def running(name: str, nodes: int) -> Iterator[Lab]:
    """A lab that is up; nothing of an earlier one is left, nor of this one afterwards.

    Another run of the same tests, from another checkout, has its lab to itself for as long as it needs it.
    """
    lab = Lab(name)
    with (LOCKS / f"virtnet-lab-{lab.name}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lab.down()
        lab.up(nodes)
        try:
            yield lab
        finally:
            lab.down()

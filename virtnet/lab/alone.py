"""A lab of one's own: runs that take a lab of their name down first would destroy each other's."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from virtnet.lab.lab import LabError

LOCKS = Path("/run/lock")
"""Tests of labs lock theirs here, too."""


class InUse(LabError):  # noqa: N818 - says what is the matter
    """Another run has the lab."""


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Have the lab of this name to oneself. Raises InUse."""
    with (LOCKS / f"virtnet-lab-{name}").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(f"another run has lab {name}; wait for its end, or choose another name with --lab") from None
        yield

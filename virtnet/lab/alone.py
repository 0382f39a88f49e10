"""A lab of one's own: runs that take a lab of their name down first would destroy each other's."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from virtnet.lab.lab import LabError

LOCKS = Path("/run/lock")


class InUse(LabError):  # noqa: N818 - says what is the matter
    """Another run has the lab."""


@contextmanager
def alone(name: str, *, wait: bool = False) -> Iterator[None]:
    """Have the lab of this name to oneself; ``wait`` for another run's end, or raise InUse."""
    with (LOCKS / f"virtnet-lab-{name}").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise InUse(f"another run has lab {name}; wait for its end, or choose another name with --lab") from None
        yield

"""Labs of tests."""

from collections.abc import Iterator
from contextlib import contextmanager

from virtnet.lab.lab import Lab


@contextmanager
def running(name: str, nodes: int) -> Iterator[Lab]:
    """A lab that is up; nothing of an earlier one is left, nor of this one afterwards."""
    lab = Lab(name)
    lab.down()
    lab.up(nodes)
    try:
        yield lab
    finally:
        lab.down()

"""Says what a lab is doing and how long it took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Progress:
    """Lines for a person; any function that takes a line can have them."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._begun = time.monotonic()

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """One line when the step is done, or has failed."""
        begun = time.monotonic()
        try:
            yield
        except BaseException:
            self._say(f"  {what}: failed after {time.monotonic() - begun:.1f} s")
            raise
        self._say(f"  {what}: {time.monotonic() - begun:.1f} s")

    @property
    def total(self) -> str:
        return f"{time.monotonic() - self._begun:.1f} s"

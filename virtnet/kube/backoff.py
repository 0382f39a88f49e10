"""Pauses between attempts: longer and longer, and no two processes' alike."""

import random
from dataclasses import dataclass

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


@dataclass
class Backoff:
    """Of one thing that is tried again and again: an API server that comes back gets not all at once."""

    _pause: float = FIRST_PAUSE

    def after_failure(self) -> float:
        """Seconds to wait now."""
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return pause * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, guards no secret

    def succeeded(self) -> None:
        self._pause = FIRST_PAUSE

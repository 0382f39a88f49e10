"""Which handoffs have waited for one thing for too long, so that one that is stuck does not go unnoticed."""

import time
from dataclasses import dataclass
from datetime import timedelta

from virtnet.engine.keys import ObjectKey
from virtnet.features.effects import HandoffWait
from virtnet.features.ovn_state import PendingHandoff
from virtnet.handoff.machine import STUCK_AFTER


def moment() -> timedelta:
    """Now, by a clock that nobody sets: one that is set back would hide for as long that something is stuck."""
    return timedelta(seconds=time.monotonic())


@dataclass(frozen=True)
class Since:
    """What one port waits for, and since when."""

    waiting: HandoffWait
    since: timedelta

    def stuck(self, now: timedelta) -> bool:
        return not self.waiting.patient and now - self.since >= STUCK_AFTER


class StuckHandoffs:
    """By Port. In memory only: another controller begins to count anew."""

    def __init__(self) -> None:
        self._pending: dict[ObjectKey, Since] = {}

    def note(self, waiting: HandoffWait, now: timedelta) -> tuple[PendingHandoff | None, timedelta | None]:
        """Note what a port waits for; returns that as people see it, and after which time to look again, if any."""
        if not waiting.text:
            self._pending.pop(waiting.port, None)
            return None, None
        wait = self._pending.get(waiting.port)
        if wait is None or wait.waiting != waiting:
            wait = self._pending[waiting.port] = Since(waiting, now)
        stuck = wait.stuck(now)
        again = None if waiting.patient or stuck else wait.since + STUCK_AFTER - now
        return PendingHandoff(waiting.text, waiting.patient, stuck), again

    def count(self, now: timedelta) -> int:
        """How many are stuck. Another thread may ask."""
        return sum(wait.stuck(now) for wait in list(self._pending.values()))

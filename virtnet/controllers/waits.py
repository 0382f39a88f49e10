"""What handoffs wait for, and since when: for people, and so that one that is stuck does not go unnoticed."""

import time
from dataclasses import dataclass
from datetime import timedelta

from virtnet.handoff.machine import STUCK_AFTER, Decision


def moment() -> timedelta:
    """Now, by a clock that nobody sets: one that is set back would hide for as long that something is stuck."""
    return timedelta(seconds=time.monotonic())


@dataclass(frozen=True)
class Wait:
    """What one port waits for."""

    text: str
    patient: bool
    """Whether it may take as long as it likes."""
    since: timedelta

    def stuck(self, now: timedelta) -> bool:
        return not self.patient and now - self.since >= STUCK_AFTER


class Waits:
    """By Port key. In memory only: another controller begins to count anew."""

    def __init__(self) -> None:
        self._waits: dict[str, Wait] = {}

    def note(self, port: str, decision: Decision | None, now: timedelta) -> timedelta | None:
        """What was decided last; None where the port is no more. Returns after which time to look again, if any."""
        if decision is None or not decision.wait:
            self._waits.pop(port, None)
            return None
        wait = self._waits.get(port)
        if wait is None or (wait.text, wait.patient) != (decision.wait, decision.patient):
            wait = self._waits[port] = Wait(decision.wait, decision.patient, now)
        return None if wait.patient or wait.stuck(now) else wait.since + STUCK_AFTER - now

    def text(self, port: str) -> str:
        """What it waits for."""
        wait = self._waits.get(port)
        return wait.text if wait else ""

    def stuck(self, port: str, now: timedelta) -> str:
        """What it has waited for for too long."""
        wait = self._waits.get(port)
        return wait.text if wait and wait.stuck(now) else ""

    def count(self, now: timedelta) -> int:
        """How many are stuck. Another thread may ask."""
        return sum(wait.stuck(now) for wait in list(self._waits.values()))

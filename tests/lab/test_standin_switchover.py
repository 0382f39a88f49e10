"""What becomes of a guest whose target is gone before anybody has looked there."""

import asyncio
from typing import Any

import pytest

from virtnet.lab.standin.qmp import QmpError
from virtnet.lab.standin.switchover import SwitchoverFailed, move


class Played:
    """A QEMU that has answers; one without any is gone."""

    def __init__(self, answers: dict[str, dict[str, object]]) -> None:
        self.qmp = self
        self.events: list[Any] = []
        self.said: list[str] = []
        self.closed = asyncio.Event()
        self._answers = answers
        if not answers:
            self.closed.set()

    async def execute(self, command: str, **_: object) -> dict[str, object]:
        if not self._answers:
            raise QmpError(f"{command}: QEMU is gone")
        self.said.append(command)
        return self._answers.get(command, {})


async def nothing() -> None:
    pass


async def test_a_guest_goes_on_where_it_was() -> None:
    """All of it had been sent: it stood still, and the next migration took that for its own."""
    sent = {"status": "postmigrate", "running": False}
    source, target = Played({"query-status": sent, "query-migrate": {"status": "completed"}}), Played({})
    with pytest.raises(SwitchoverFailed, match="the target's QEMU is gone"):
        await move(source, target, while_moving=nothing())  # type: ignore[arg-type]
    assert source.said[-1] == "cont"

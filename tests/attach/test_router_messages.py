"""The flows that keep guests' router messages in, when the switch loses them at a bad moment."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from virtnet.node import router_messages
from virtnet.node.flows import Installed
from virtnet.node.router_messages import PRIORITY, RouterMessages


async def test_flows_that_are_lost_while_the_bridge_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As when Open vSwitch is started again, and again: the bridge is told anew, and virtnet-node goes on."""
    lost, removed = asyncio.Event(), asyncio.Queue[list[Installed]]()
    stray = Installed(0, PRIORITY, b"", b"")

    async def losses(_: Path) -> AsyncIterator[None]:
        await lost.wait()
        yield

    async def under(*_: object) -> list[Installed]:
        lost.set()
        for _turn in range(5):
            await asyncio.sleep(0)
        return [stray]

    async def remove(_: Path, __: int, flows: list[Installed]) -> None:
        removed.put_nowait(flows)

    async def put(*_: object) -> None:
        pass

    for name, one in {"losses": losses, "under": under, "remove": remove, "put": put}.items():
        monkeypatch.setattr(router_messages, name, one)
    messages = RouterMessages(MagicMock(), MagicMock(), MagicMock(), tmp_path)
    messages.permit((), {})
    async with asyncio.TaskGroup() as group:
        running = group.create_task(messages.run())
        assert [await removed.get() for _told in range(2)] == [[stray], [stray]]
        running.cancel()

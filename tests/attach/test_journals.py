"""The node's two journals: one process's at a time, and no disk keeps the daemon from anything else."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.attach.rig import journaled
from virtnet.node.folder import JournalInUse
from virtnet.node.journal import Journal
from virtnet.node.providers.nic import Settings
from virtnet.node.providers.records import Record, Records

RECORD = Record(
    provider_network="blue", nic="eth1", nic_index=2, bridge="br-blue", mac="02:07:00:00:00:01", mtu=1500, boot="now",
    settings=Settings(), configuration=(),
)  # fmt: skip


def test_two_daemons_never_share_a_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(JournalInUse, match="end it first"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda path: Journal(path).write(journaled()), id="attached NICs"),
        pytest.param(lambda path: Records(path).write(RECORD), id="plugged-in NICs"),
    ],
)
async def test_a_disk_that_takes_its_time_keeps_nothing_else_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], Awaitable[object]]
) -> None:
    """A gate may have to be opened meanwhile."""
    opened, in_time = threading.Event(), []
    monkeypatch.setattr(os, "fsync", lambda _: in_time.append(opened.wait(10)))
    writing = asyncio.ensure_future(write(tmp_path))
    asyncio.get_running_loop().call_later(0.01, opened.set)
    await writing
    assert in_time == [True, True]

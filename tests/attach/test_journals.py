"""The node's two journals: one process's at a time, and no disk keeps the daemon from anything else."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.attach.samples import journaled
from virtnet.node.journal import Journal
from virtnet.node.providers.nic import Settings
from virtnet.node.providers.records import PluggingRecord, Records
from virtnet.node.record_store import StoreInUse

RECORD = PluggingRecord(
    provider_network="blue", nic="eth1", nic_index=2, bridge="br-blue", mac="02:07:00:00:00:01", mtu=1500, boot="now",
    settings=Settings(), configuration=(),
)  # fmt: skip


def test_two_daemons_never_share_a_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(StoreInUse, match="end it first"):
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


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


STRANGE = {
    "a dangling link": lambda path: path.symlink_to("/nowhere"),
    "a link to a record": lambda path: path.symlink_to(path.with_name("record")),
    "a directory": lambda path: path.mkdir(),
    "a FIFO": os.mkfifo,
    "half a record": lambda path: path.write_text('{"container": "c1"'),
    "another's JSON": lambda path: path.write_text("[]"),
    "not even text": lambda path: path.write_bytes(b"\xff\xfe"),
    "deep": lambda path: path.write_text("[" * 200_000),
}


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE.keys())
def test_what_is_no_record_is_set_aside_and_stops_nothing(tmp_path: Path, make: Callable[[Path], object]) -> None:
    (tmp_path / "whole.json").write_text(journaled().model_dump_json(by_alias=True))
    (tmp_path / "record").write_text(journaled(container="c2").model_dump_json(by_alias=True))
    make(tmp_path / "strange.json")
    journal = Journal(tmp_path)
    assert [entry.container for entry in journal] == ["c1"]
    assert "strange.unreadable" in names(tmp_path)
    journal.close()


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE.keys())
def test_what_was_being_written_stops_nothing(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "strange.new")
    journal = Journal(tmp_path)
    assert list(journal) == []
    assert "strange.new" not in names(tmp_path)
    journal.close()

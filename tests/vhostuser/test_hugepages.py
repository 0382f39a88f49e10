"""Huge pages of the machine: as many as are held, and in every way of ending as many as before."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from virtnet.lab import hugepages
from virtnet.lab.hugepages import NoHugePages, hold, huge_pages, release

BEFORE = 16
HOLDS = """
import sys
from pathlib import Path
from virtnet.lab import hugepages
hugepages.TOTAL, hugepages.RECORD = map(Path, sys.argv[1:])
with hugepages.huge_pages(4):
    print("holds", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def total(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of the machine's, which others set, too."""
    path = tmp_path / "nr_hugepages"
    path.write_text(f"{BEFORE}\n")
    monkeypatch.setattr(hugepages, "TOTAL", path)
    monkeypatch.setattr(hugepages, "RECORD", tmp_path / "record")
    return path


def another() -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", HOLDS, *map(str, (hugepages.TOTAL, hugepages.RECORD))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"holds\n"
    return process


def test_those_of_several_holders_add_up(total: Path) -> None:
    hold("lab", 3)
    with huge_pages(1), huge_pages(1), another() as process:
        assert int(total.read_text()) == BEFORE + 9
        process.communicate(b"")
        assert int(total.read_text()) == BEFORE + 5
    assert int(total.read_text()) == BEFORE + 3
    release("lab")
    release("lab")
    assert int(total.read_text()) == BEFORE
    assert not list(hugepages.RECORD.iterdir())


def test_what_a_killed_process_held_goes_at_the_next_start(total: Path) -> None:
    with another() as process:
        process.send_signal(signal.SIGKILL)
    assert int(total.read_text()) == BEFORE + 4
    with huge_pages(1):
        assert int(total.read_text()) == BEFORE + 1
    assert int(total.read_text()) == BEFORE


def test_an_exception_puts_them_back(total: Path) -> None:
    with pytest.raises(KeyError), huge_pages(2):
        raise KeyError
    assert int(total.read_text()) == BEFORE


def test_more_than_the_machine_has_is_not_even_tried(total: Path) -> None:
    with pytest.raises(NoHugePages, match="MiB are available"):
        hold("lab", 1 << 30)
    assert int(total.read_text()) == BEFORE


def test_what_nobody_holds_is_what_was_there_before(total: Path) -> None:
    assert hugepages.unheld() == BEFORE
    with huge_pages(3), another() as process:
        assert hugepages.unheld() == BEFORE
        process.communicate(b"")
    total.write_text(f"{BEFORE + 1}\n")
    assert hugepages.unheld() == BEFORE + 1

"""``virtnet node`` where it cannot begin."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from virtnet.cli.main import app
from virtnet.node import daemon
from virtnet.node.journal import Journal
from virtnet.node.providers.records import Records
from virtnet.node.record_store import when_free


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("journal", ["attachments", "provider-networks"])
def test_a_second_daemon_says_in_one_line_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: str
) -> None:
    monkeypatch.setattr(daemon, "when_free", partial(when_free, patience=0))
    directory = tmp_path / journal
    first = Journal(directory) if journal == "attachments" else Records(directory)
    ended = CliRunner().invoke(app, ["node", "--node", "demo-a", "--state-dir", str(tmp_path)])
    first.close()
    assert ended.exit_code == 1
    assert ended.stderr.splitlines() == [
        f"virtnet node: another virtnet-node works with {tmp_path / journal}; end it first, or give this one another "
        "--state-dir"
    ]

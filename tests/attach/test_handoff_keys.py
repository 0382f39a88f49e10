"""The secrets of handoffs: who can compute one, and who cannot."""

import stat
from base64 import b64encode
from itertools import product
from pathlib import Path

import pytest

from virtnet.node.handoff.keys import FILE, HandoffKeys, UnusableKey

HANDOFF = {"migration": "m1", "port": "demo/db.blue"}
SOURCE, TARGET, OTHER = (HandoffKeys.generate() for _ in range(3))


def test_the_two_nodes_of_a_handoff_agree() -> None:
    assert SOURCE.secret(TARGET.public, **HANDOFF) == TARGET.secret(SOURCE.public, **HANDOFF)


def test_a_third_node_computes_it_from_no_public_key() -> None:
    secret = SOURCE.secret(TARGET.public, **HANDOFF)
    assert secret not in {OTHER.secret(keys.public, **HANDOFF) for keys in (SOURCE, TARGET, OTHER)}


def test_each_handoff_has_its_own() -> None:
    handoffs = list(product(("m1", "m2", "m1d"), ("demo/db.blue", "emo/db.blue", "demo/db.red")))
    secrets = {SOURCE.secret(TARGET.public, migration=migration, port=port) for migration, port in handoffs}
    assert len(secrets) == len(handoffs)


def test_a_daemon_that_is_restarted_has_the_same_key_and_only_root_reads_it(tmp_path: Path) -> None:
    first, second = (HandoffKeys.kept_in(tmp_path / "state") for _ in range(2))
    assert first.public == second.public
    assert first.secret(OTHER.public, **HANDOFF) == second.secret(OTHER.public, **HANDOFF)
    assert stat.S_IMODE((tmp_path / "state" / FILE).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "state").iterdir()] == [FILE]


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_key_is_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    made = HandoffKeys.kept_in(tmp_path)
    assert HandoffKeys.kept_in(tmp_path).public == made.public


def test_a_disk_that_takes_nothing_does_not_stop_the_daemon(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    made = HandoffKeys.kept_in(tmp_path / "state")
    assert made.secret(OTHER.public, **HANDOFF) == OTHER.secret(made.public, **HANDOFF)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("", id="none"),
        pytest.param("no base64", id="no base64"),
        pytest.param(b64encode(b"x" * 31).decode(), id="too short"),
        pytest.param(b64encode(bytes(32)).decode(), id="a point with which every secret is the same"),
    ],
)
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(UnusableKey):
        SOURCE.secret(key, **HANDOFF)

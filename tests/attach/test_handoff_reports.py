"""What a node reports of its handoffs: each part says its own, and nothing of one part hides what another says."""

from datetime import UTC, datetime

import pytest

from virtnet.api import NodeHandoffStatus
from virtnet.node.handoff import merged

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RELEASED = NodeHandoffStatus(migration="m1", released_at=NOW)
DRAINED = NodeHandoffStatus(migration="m1", forwarded_frames=0)
NOT_DRAINED = NodeHandoffStatus(migration="m1", drain_error="no tap")
OPENED = NodeHandoffStatus(migration="m1", gate_opened_at=NOW)
PROBED = NodeHandoffStatus(migration="m1", probed_at=NOW)


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        pytest.param([RELEASED, DRAINED], {"released_at": NOW, "forwarded_frames": 0}, id="released and drained"),
        pytest.param([RELEASED, NOT_DRAINED], {"released_at": NOW, "drain_error": "no tap"}, id="not drained"),
        pytest.param([DRAINED], {"forwarded_frames": 0}, id="drained before the release"),
        pytest.param([OPENED, PROBED], {"gate_opened_at": NOW, "probed_at": NOW}, id="opened and probed"),
        pytest.param(
            [RELEASED.model_copy(update={"forwarded_frames": 3}), DRAINED],
            {"released_at": NOW, "forwarded_frames": 0},
            id="what is so by now, in place of what an earlier daemon reported",
        ),
    ],
)
def test_one_status_has_what_all_parts_report(parts: list[NodeHandoffStatus], whole: dict[str, object]) -> None:
    other = {"demo/other": NodeHandoffStatus(migration="m2", released_at=NOW)}
    found = merged([other, *({"demo/db.blue": part} for part in parts)])
    assert found == {**other, "demo/db.blue": NodeHandoffStatus(migration="m1", **whole)}

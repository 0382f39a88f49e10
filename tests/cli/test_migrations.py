"""What `virtnet migrations` shows of a Port."""

from datetime import UTC, datetime, timedelta

from virtnet.api import HandoffRecord, Owner, Port, PortSpec, PortStatus, set_condition
from virtnet.api.meta import Metadata
from virtnet.api.references import SubnetRef
from virtnet.cli.migrations import COLUMNS, _rows

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def port(*records: HandoffRecord, stuck: str = "") -> Port:
    conditions = set_condition((), "HandoffStuck", status=bool(stuck), reason="Waiting", message=stuck)
    return Port(
        metadata=Metadata(name="db.blue", namespace="demo"),
        spec=PortSpec(
            owner=Owner(kind="VirtualMachine", name="db"),
            network="blue",
            network_attachment_definition="demo/blue-net",
            subnet=SubnetRef(kind="Subnet", namespace="demo", name="blue"),
            mac_address="02:76:6e:00:00:01",
            addresses=("10.0.0.5",),
        ),
        status=PortStatus(handoffs=records, conditions=conditions),
    )


def record(**changes: object) -> HandoffRecord:
    return HandoffRecord(
        migration="m1", source="node1", target="node2", state="Armed", armed_at=NOW, message="waits"
    ).model_copy(update=changes)


def test_every_step_has_its_time_since_the_port_was_armed() -> None:
    done = record(
        state="Committed",
        bound_at=NOW + timedelta(milliseconds=12),
        activated_at=NOW + timedelta(seconds=2),
        answered_at=NOW + timedelta(seconds=2, milliseconds=4),
        domain_ready_at=NOW + timedelta(seconds=2, milliseconds=1),
        finished_at=NOW + timedelta(seconds=2, milliseconds=41),
        forwarded_frames=14,
        message="armed node2 in 12 ms",
    )
    (cells,) = _rows(port(done))
    assert dict(zip(COLUMNS, cells, strict=True)) == {
        "TIME": "2026-01-01 00:00:00", "PORT": "demo/db.blue", "FROM": "node1", "TO": "node2", "STATE": "Committed",
        "BOUND": "12 ms", "HEARD": "2.000 s", "RUNNING": "2.001 s", "ANSWERED": "2.004 s", "DONE": "2.041 s", "FORWARDED": "14", "NOTE": "armed node2 in 12 ms",
    }  # fmt: skip


def test_a_stuck_one_says_what_it_waits_for_and_ended_ones_do_not() -> None:
    ended = record(migration="m0", state="Committed", finished_at=NOW)
    rows = [dict(zip(COLUMNS, cells, strict=True)) for cells in _rows(port(record(), ended, stuck="waits for OVN"))]
    assert [(row["STATE"], row["NOTE"]) for row in rows] == [("Stuck", "waits for OVN"), ("Committed", "waits")]


def test_one_that_cannot_begin_is_shown_too() -> None:
    """There is no record of it yet, and an alert sends people here."""
    ended = record(migration="m0", state="Committed", finished_at=NOW)
    rows = [dict(zip(COLUMNS, cells, strict=True)) for cells in _rows(port(ended, stuck="waits for node2"))]
    assert [(row["STATE"], row["NOTE"]) for row in rows] == [("Stuck", "waits for node2"), ("Committed", "waits")]

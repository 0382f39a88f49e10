"""What a Port's status looks like to who reads it."""

from datetime import UTC, datetime

from virtnet.api import HandoffRecord


def test_a_record_says_nothing_of_what_there_is_not() -> None:
    record = HandoffRecord(
        migration="m1", source="node1", target="node2", state="Armed", armed_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert record.model_dump(mode="json", by_alias=True).keys() == {
        "migration", "source", "target", "state", "armedAt",
    }  # fmt: skip
    assert record.model_copy(update={"forwarded_frames": 0}).model_dump(by_alias=True)["forwardedFrames"] == 0
    assert HandoffRecord.model_validate(record.model_dump(by_alias=True)) == record

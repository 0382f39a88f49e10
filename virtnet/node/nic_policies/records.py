"""The journal of NICs that policies have changed: one file each, on disk before the first change."""

from pathlib import Path

from virtnet.api.meta import Spec
from virtnet.node.nic_policies.plan import PfSettings
from virtnet.node.record_store import RecordStore


class NicRecord(Spec):
    """One physical function."""

    address: str
    policy: str
    """The NicPolicy that has changed it last."""
    boot: str
    """The kernel's boot id: with another one, nothing of ours is left, and what was found is no more."""
    found: PfSettings
    """What each setting was before it was changed; None for one that was not."""


class NicRecords(RecordStore[str, NicRecord]):
    """The records of this node's NICs, by their addresses."""

    def __init__(self, directory: Path) -> None:
        """Raises StoreInUse."""
        super().__init__(
            directory, NicRecord, key=lambda record: record.address, name=lambda address: address.replace("/", "_")
        )

"""The journal of attached NICs: one file each, on disk before the first change. It is all that recovery needs."""

from collections.abc import Container
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import structlog

from virtnet.api.meta import Spec
from virtnet.api.nic_kinds import SERVED_NICS
from virtnet.api.records import Attachment
from virtnet.node.record_store import RecordStore
from virtnet.node.request import AttachmentId
from virtnet.node.virtual_functions.found import FoundVf

log = structlog.get_logger()


class Entry(Spec):
    """One NIC, from before its first change to after its last."""

    container: str
    interface: str
    network_name: str
    """The name in the network configuration: a GC is about the NICs of one."""
    netns: str
    pod_namespace: str
    pod_name: str
    pod_uid: str
    migration: str = ""
    """UID of the VMIM that the pod was the target of when the NIC was attached; it stays when that is over."""
    attachment: Attachment
    device: str = ""
    """As in the Request: nobody has proved yet that the pod may have it."""
    device_info: str = ""
    """As in the Request."""
    virtual_function: FoundVf | None = None
    """What its virtual function was before the first change, where its kind has one."""
    state: Literal["Attaching", "Attached", "Detaching"] = "Attaching"
    released_at: datetime | None = None
    """When the port was let go for good: the guest lives elsewhere, or another NIC of this node has it."""

    @property
    def id(self) -> AttachmentId:
        return AttachmentId(self.container, self.interface)

    @property
    def pod(self) -> str:
        return f"{self.pod_namespace}/{self.pod_name}"


class Journal(RecordStore[AttachmentId, Entry]):
    """The entries of this node's NICs."""

    def __init__(self, directory: Path, kinds: Container[str] = SERVED_NICS) -> None:
        """``kinds``: of NICs that are served. Raises StoreInUse."""

        def known(record: Any) -> bool:
            return not isinstance(kind := _kind(record), str) or kind in kinds

        super().__init__(directory, Entry, key=lambda entry: entry.id, name=lambda id_: id_.digest[:32], known=known)

    def __contains__(self, id_: object) -> bool:
        """Whether there is a record of a NIC, be it another version's."""
        return isinstance(id_, AttachmentId) and (self.get(id_) is not None or self.is_foreign(id_))

    def of_port(self, port: str) -> list[Entry]:
        return [entry for entry in self if entry.attachment.port == port]

    async def write(self, entry: Entry) -> Entry:
        """It counts from the call on, whatever the disk says. Raises OSError."""
        self._records[entry.id] = entry
        return await super().write(entry)

    async def change(self, id_: AttachmentId, **changes: Any) -> Entry | None:
        """The entry with these fields changed, as it is by now; None, and nothing written, where there is none.

        Where the disk takes nothing, it is so in memory, and a warning says so: a NIC that is to go must not stay for
        that, or a full disk would keep the pods whose end gives room. Whoever asks asks again after a crash.
        """
        entry = self.get(id_)
        if entry is None:
            return None
        changed = entry.model_copy(update=changes)
        try:
            await self.write(changed)
        except OSError as error:
            log.warning("not written to the journal", nic=str(id_), error=str(error))
        return changed


def _kind(record: Any) -> Any:
    """The NIC kind in a record of any version; None where it has none."""
    attachment = record.get("attachment") if isinstance(record, dict) else None
    return attachment.get("nic") if isinstance(attachment, dict) else None

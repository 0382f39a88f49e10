"""The journal of attached NICs: one file each, on disk before the first change. It is all that recovery needs."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import structlog

from virtnet.api.meta import Spec
from virtnet.api.records import Attachment
from virtnet.node.folder import Folder
from virtnet.node.request import AttachmentId

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
    state: Literal["Attaching", "Attached", "Detaching"] = "Attaching"
    released_at: datetime | None = None
    """When the port was let go for good: the guest lives elsewhere, or another NIC of this node has it."""

    @property
    def id(self) -> AttachmentId:
        return AttachmentId(self.container, self.interface)

    @property
    def host_name(self) -> str:
        return self.id.host_name

    @property
    def pod(self) -> str:
        return f"{self.pod_namespace}/{self.pod_name}"


class Journal:
    """Entries in a folder. Every write is on disk when it returns; what it says counts from its call on."""

    def __init__(self, directory: Path) -> None:
        """Raises JournalInUse."""
        self._folder = Folder(directory)
        self._entries = {entry.id: entry for entry in self._folder.read(Entry)}

    def close(self) -> None:
        self._folder.close()

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, id_: AttachmentId) -> Entry | None:
        return self._entries.get(id_)

    def of_port(self, port: str) -> list[Entry]:
        return [entry for entry in self if entry.attachment.port == port]

    async def write(self, entry: Entry) -> Entry:
        """Raises OSError."""
        self._entries[entry.id] = entry
        await self._folder.store(_name(entry.id), entry)
        return entry

    async def change(self, id_: AttachmentId, **changes: Any) -> Entry | None:
        """The entry with these fields changed, as it is by now; None, and nothing written, where there is none.

        Where the disk takes nothing, it is so in memory, and told of: a NIC that is to go must not stay for that, or a
        full disk would keep the pods whose end gives room. Whoever asks asks again after a crash.
        """
        entry = self._entries.get(id_)
        if entry is None:
            return None
        changed = entry.model_copy(update=changes)
        try:
            await self.write(changed)
        except OSError as error:
            log.warning("not written to the journal", nic=str(id_), error=str(error))
        return changed

    async def remove(self, id_: AttachmentId) -> None:
        """Raises OSError."""
        self._entries.pop(id_, None)
        await self._folder.delete(_name(id_))


def _name(id_: AttachmentId) -> str:
    return id_.digest[:32]

"""The journal of attached NICs: one file each, on disk before the first change. It is all that recovery needs."""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import structlog
from pydantic import ValidationError

from virtnet.api.meta import Spec
from virtnet.api.records import Attachment
from virtnet.node.request import AttachmentId

log = structlog.get_logger()


class JournalInUse(Exception):  # noqa: N818 - says what is the matter
    """Another daemon works on these NICs."""


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
    """UID of the VMIM that the pod is the target of; it stays when the migration is over."""
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
    """Entries in a directory. Every write is on disk when it returns; what it says counts from its call on.

    Writes are done in one thread, in order: waiting for a disk must not keep other NICs waiting.
    """

    def __init__(self, directory: Path) -> None:
        """Raises JournalInUse."""
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(directory, os.O_DIRECTORY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise JournalInUse(f"another virtnet-node works with {directory}; end it first") from error
        self._disk = ThreadPoolExecutor(1, "journal")
        self._entries = {entry.id: entry for entry in self._read()}

    def close(self) -> None:
        self._disk.shutdown()
        os.close(self._descriptor)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, id_: AttachmentId) -> Entry | None:
        return self._entries.get(id_)

    def of_port(self, port: str) -> list[Entry]:
        return [entry for entry in self if entry.attachment.port == port]

    async def write(self, entry: Entry) -> Entry:
        self._entries[entry.id] = entry
        await self._on_disk(self._store, self._path(entry.id), entry.model_dump_json(by_alias=True))
        return entry

    async def change(self, id_: AttachmentId, **changes: Any) -> Entry | None:
        """The entry with these fields changed, as it is by now; None, and nothing written, where there is none."""
        entry = self._entries.get(id_)
        return await self.write(entry.model_copy(update=changes)) if entry is not None else None

    async def remove(self, id_: AttachmentId) -> None:
        self._entries.pop(id_, None)
        await self._on_disk(self._delete, self._path(id_))

    async def _on_disk(self, work: Any, *arguments: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)

    def _store(self, path: Path, text: str) -> None:
        fresh = path.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
        os.fsync(self._descriptor)

    def _delete(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        os.fsync(self._descriptor)

    def _path(self, id_: AttachmentId) -> Path:
        return self._directory / f"{id_.digest[:32]}.json"

    def _read(self) -> Iterator[Entry]:
        for path in self._directory.glob("*.new"):
            path.unlink()  # never became true
        for path in sorted(self._directory.glob("*.json")):
            try:
                yield Entry.model_validate_json(path.read_bytes())
            except ValidationError as error:
                # Not ours to guess: set aside for a person. Its port and link carry our marks: see leftovers.py.
                log.exception("journal unreadable", path=str(path), error=str(error))
                path.rename(path.with_suffix(".unreadable"))

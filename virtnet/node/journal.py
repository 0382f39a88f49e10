"""The journal of attached NICs: one file each, on disk before the first change. It is all that recovery needs."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import structlog
from pydantic import ValidationError

from virtnet.api.meta import Spec
from virtnet.api.records import Attachment
from virtnet.node.request import AttachmentId

log = structlog.get_logger()


class Entry(Spec):
    """One NIC, from before its first change to after its last."""

    container: str
    interface: str
    netns: str
    pod_namespace: str
    pod_name: str
    pod_uid: str
    migration: str = ""
    """UID of the VMIM that the pod is the target of; it stays when the migration is over."""
    attachment: Attachment
    state: Literal["Attaching", "Attached", "Detaching"] = "Attaching"
    released: bool = False
    """The port was let go for good: the guest lives elsewhere, or another NIC of this node has it."""

    @property
    def id(self) -> AttachmentId:
        return AttachmentId(self.container, self.interface)

    @property
    def host_name(self) -> str:
        """The host's end: the same for the same NIC, so that a repeated ADD finds what a crash has left."""
        return f"vn{hashlib.sha256(f'{self.container}/{self.interface}'.encode()).hexdigest()[:11]}"

    @property
    def mark(self) -> str:
        """What the host's end says in its alias: whose it is."""
        return f"virtnet {self.container}/{self.interface}"


class Journal:
    """Entries in a directory. Every write is on disk when it returns."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._entries = {entry.id: entry for entry in self._read()}

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, id_: AttachmentId) -> Entry | None:
        return self._entries.get(id_)

    def of_port(self, port: str) -> list[Entry]:
        return [entry for entry in self if entry.attachment.port == port]

    def write(self, entry: Entry) -> Entry:
        path = self._path(entry.id)
        fresh = path.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(entry.model_dump_json(by_alias=True))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
        self._sync()
        self._entries[entry.id] = entry
        return entry

    def remove(self, id_: AttachmentId) -> None:
        self._path(id_).unlink(missing_ok=True)
        self._sync()
        self._entries.pop(id_, None)

    def _sync(self) -> None:
        descriptor = os.open(self._directory, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _path(self, id_: AttachmentId) -> Path:
        return self._directory / f"{hashlib.sha256(f'{id_.container}/{id_.interface}'.encode()).hexdigest()[:32]}.json"

    def _read(self) -> Iterator[Entry]:
        for path in sorted(self._directory.glob("*.json")):
            try:
                yield Entry.model_validate_json(path.read_bytes())
            except ValidationError as error:
                # Not ours to guess: set aside for a person; its link and port carry our marks and are collected.
                log.exception("journal unreadable", path=str(path), error=str(error))
                path.rename(path.with_suffix(".unreadable"))

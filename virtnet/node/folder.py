"""A folder of records, each in a file of its own: whole or not at all, and on disk when a write returns.

It is one process's at a time. Both journals of the node are kept so: that of attached NICs (journal.py), and that of
plugged-in ones (providers/records.py).
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import structlog
from pydantic import BaseModel, ValidationError

log = structlog.get_logger()

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

LOCK_SECONDS = 20.0
"""How long an earlier daemon may take to end, or a guard to undo what that has left."""

PAUSE_SECONDS = 0.05


class JournalInUse(Exception):  # noqa: N818 - says what is the matter
    """Another process works with this journal."""


async def when_free(opened: Callable[[], T], patience: float = LOCK_SECONDS) -> T:
    """What ``opened`` returns, once whoever works with its journal has ended. Raises JournalInUse after the patience.

    In a rollout, the daemon before may still be ending; a crash-looping one would be waited for much longer.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + patience
    while True:
        try:
            return opened()
        except JournalInUse:
            if loop.time() >= end:
                raise
        await asyncio.sleep(PAUSE_SECONDS)


class Folder:
    """Writes are done in one thread, in order: waiting for a disk must keep nobody else waiting."""

    def __init__(self, path: Path) -> None:
        """Raises JournalInUse."""
        self._path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_DIRECTORY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise JournalInUse(
                f"another virtnet-node works with {path}; end it first, or give this one another --state-dir"
            ) from error
        self._disk = ThreadPoolExecutor(1, path.name)

    def close(self) -> None:
        """When what is under way is on disk."""
        self._disk.shutdown()
        os.close(self._descriptor)

    def read(self, model: type[M]) -> Iterator[M]:
        """All records. One that cannot be read is set aside for a person: it is not ours to guess."""
        for path in self._path.glob("*.new"):
            path.unlink()  # never became true
        for path in sorted(self._path.glob("*.json")):
            try:
                yield model.model_validate_json(path.read_bytes())
            except ValidationError as error:
                log.exception("journal unreadable", path=str(path), error=str(error))
                path.rename(path.with_suffix(".unreadable"))

    async def store(self, name: str, record: BaseModel) -> None:
        """Raises OSError."""
        await self._on_disk(self._store, self._path / f"{name}.json", record.model_dump_json(by_alias=True))

    async def delete(self, name: str) -> None:
        """One that is gone already is fine. Raises OSError."""
        await self._on_disk(self._delete, self._path / f"{name}.json")

    async def _on_disk(self, work: Any, *arguments: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)

    def _store(self, path: Path, text: str) -> None:
        fresh = path.with_suffix(".new")
        try:
            with fresh.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        os.fsync(self._descriptor)

    def _delete(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        os.fsync(self._descriptor)

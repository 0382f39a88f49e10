"""Records on disk, each in a file of its own: whole or not at all, and on disk when a write returns.

A directory of them is one process's at a time. The node keeps two: attached NICs (journal.py), and NICs that are
plugged into bridges (providers/records.py).
"""

import asyncio
import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog
from pydantic import BaseModel, ValidationError

log = structlog.get_logger()

T = TypeVar("T")
K = TypeVar("K")
M = TypeVar("M", bound=BaseModel)

LOCK_SECONDS = 20.0
"""How long an earlier daemon may take to end, or a guard to undo what that has left."""

PAUSE_SECONDS = 0.05


class StoreInUse(Exception):  # noqa: N818 - says what is the matter
    """Another process works with this directory."""


async def when_free(opened: Callable[[], T], patience: float = LOCK_SECONDS) -> T:
    """What ``opened`` returns, once whoever works with its directory has ended. Raises StoreInUse after the patience.

    In a rollout, the daemon before may still be ending; a crash-looping one would be waited for much longer.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + patience
    while True:
        try:
            return opened()
        except StoreInUse:
            if loop.time() >= end:
                raise
        await asyncio.sleep(PAUSE_SECONDS)


class RecordStore(Generic[K, M]):
    """The records of one model, in memory and on disk.

    Writes are done in one thread, in order: waiting for a disk must keep nobody else waiting.
    """

    def __init__(
        self,
        directory: Path,
        model: type[M],
        *,
        key: Callable[[M], K],
        name: Callable[[K], str],
        known: Callable[[Any], bool] = lambda _: True,
    ) -> None:
        """``name``: of a record's file. ``known``: whether a record, as JSON, is one that this version understands; the
        file of any other stays as it is, for the version that wrote it. Raises StoreInUse.
        """
        self._directory = directory
        self._key, self._name = key, name
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(directory, os.O_DIRECTORY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise StoreInUse(
                f"another virtnet-node works with {directory}; end it first, or give this one another --state-dir"
            ) from error
        self._disk = ThreadPoolExecutor(1, directory.name)
        self._foreign: set[Path] = set()
        self._records = {key(record): record for record in self._read(model, known)}

    def close(self) -> None:
        """When what is being written is on disk."""
        self._disk.shutdown()
        os.close(self._descriptor)

    def __iter__(self) -> Iterator[M]:
        return iter(list(self._records.values()))

    def __len__(self) -> int:
        return len(self._records)

    def get(self, key: K) -> M | None:
        return self._records.get(key)

    def is_foreign(self, key: K) -> bool:
        """Whether there is a record that another version has written, and this one does not understand."""
        return self._path(key) in self._foreign

    async def write(self, record: M) -> M:
        """It counts once it is on disk, which is before this returns. Raises OSError."""
        key = self._key(record)
        await self._on_disk(self._store, self._path(key), record.model_dump_json(by_alias=True))
        self._records[key] = record
        return record

    async def remove(self, key: K) -> None:
        """One that is gone already is fine. Raises OSError."""
        self._records.pop(key, None)
        await self._on_disk(self._delete, self._path(key))

    def _path(self, key: K) -> Path:
        return self._directory / f"{self._name(key)}.json"

    def _read(self, model: type[M], known: Callable[[Any], bool]) -> Iterator[M]:
        """All records. What cannot be read is set aside for a person: it is not ours to guess, and stops nothing."""
        for path in sorted(self._directory.iterdir()):
            try:
                if path.suffix == ".new":
                    path.unlink()  # never became true
                elif path.suffix == ".json":
                    text = _content(path)
                    if known(json.loads(text)):
                        yield model.model_validate_json(text)
                    else:
                        log.warning("left to the version of virtnet-node that wrote it", path=str(path))
                        self._foreign.add(path)
            except (OSError, ValueError, RecursionError) as error:
                _set_aside(path, error)

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


def _content(path: Path) -> bytes:
    """Of a regular file: nothing else was written by us, and opening a FIFO would wait for its writer."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ValueError("it is no regular file")
    return path.read_bytes()


def _set_aside(path: Path, problem: Exception) -> None:
    text = str(problem.errors(include_url=False)) if isinstance(problem, ValidationError) else str(problem)
    log.error("record unreadable; it is set aside", path=str(path), error=text)
    try:
        path.rename(path.with_name(f"{path.name.removesuffix('.json')}.unreadable"))
    except OSError as error:
        log.error("left where it is", path=str(path), error=str(error))  # noqa: TRY400 - one line says it all

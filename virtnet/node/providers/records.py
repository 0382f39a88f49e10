"""The journal of plugged-in NICs: one file for each ProviderNetwork, on disk before the first change."""

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import structlog
from pydantic import ValidationError

from virtnet.api.meta import Spec
from virtnet.node.journal import JournalInUse
from virtnet.node.providers.entries import Entry
from virtnet.node.providers.nic import Settings

log = structlog.get_logger()

LOCK_SECONDS = 20.0
"""How long a guard may take that undoes what an earlier daemon has left."""


class Record(Spec):
    """One NIC, from before its first change to after its last."""

    provider_network: str
    nic: str
    nic_index: int
    bridge: str
    mac: str
    mtu: int
    boot: str
    """The kernel's boot id: another one means that the operating system has configured the NIC anew."""
    settings: Settings
    """Of the NIC, before."""
    configuration: tuple[str, ...]
    """What the node has on the NIC, or on the bridge: entries of rtnetlink.py, as text."""
    state: Literal["Plugging", "Plugged", "Unplugging"] = "Plugging"
    bridge_index: int = 0
    """The bridge that has the configuration, which goes with it; 0 while the NIC has it."""

    @property
    def entries(self) -> list[Entry]:
        return [Entry.of_text(text) for text in self.configuration]

    @property
    def finished(self) -> bool:
        return self.state == "Plugged"

    @property
    def fallen_back(self) -> bool:
        """Whether the NIC has the configuration, for want of a bridge."""
        return not self.bridge_index


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class Records:
    """Records in a directory. Every write is on disk when it returns."""

    def __init__(self, directory: Path, *, patience: float = LOCK_SECONDS) -> None:
        """Waits for whoever works with them, and then raises JournalInUse."""
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(directory, os.O_DIRECTORY | os.O_CLOEXEC)
        self._lock(patience)
        self._records = {record.provider_network: record for record in self._read()}

    def close(self) -> None:
        os.close(self._descriptor)

    def __iter__(self) -> Iterator[Record]:
        return iter(list(self._records.values()))

    def get(self, provider_network: str) -> Record | None:
        return self._records.get(provider_network)

    def write(self, record: Record) -> Record:
        """Blocks for the disk: this is rare, and nothing may be changed before it is done."""
        path = self._path(record.provider_network)
        fresh = path.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(record.model_dump_json(by_alias=True))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
        os.fsync(self._descriptor)
        self._records[record.provider_network] = record
        return record

    def remove(self, provider_network: str) -> None:
        self._records.pop(provider_network, None)
        self._path(provider_network).unlink(missing_ok=True)
        os.fsync(self._descriptor)

    def _lock(self, patience: float) -> None:
        end = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > end:
                    os.close(self._descriptor)
                    raise JournalInUse(f"another virtnet-node works with {self._directory}; end it first") from error
                time.sleep(0.05)
            else:
                return

    def _path(self, provider_network: str) -> Path:
        return self._directory / f"{provider_network}.json"

    def _read(self) -> Iterator[Record]:
        for path in self._directory.glob("*.new"):
            path.unlink()  # never became true
        for path in sorted(self._directory.glob("*.json")):
            try:
                yield Record.model_validate_json(path.read_bytes())
            except ValidationError as error:
                log.exception("journal unreadable", path=str(path), error=str(error))
                path.rename(path.with_suffix(".unreadable"))

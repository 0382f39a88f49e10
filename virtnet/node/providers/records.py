"""The journal of plugged-in NICs: one file for each ProviderNetwork, on disk before the first change."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from virtnet.api.meta import Spec
from virtnet.node.folder import Folder
from virtnet.node.providers.entries import Entry
from virtnet.node.providers.nic import Settings


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
    """Records in a folder. A write counts once it is on disk, which is before it returns."""

    def __init__(self, directory: Path) -> None:
        """Raises JournalInUse."""
        self._folder = Folder(directory)
        self._records = {record.provider_network: record for record in self._folder.read(Record)}

    def close(self) -> None:
        self._folder.close()

    def __iter__(self) -> Iterator[Record]:
        return iter(list(self._records.values()))

    def get(self, provider_network: str) -> Record | None:
        return self._records.get(provider_network)

    async def write(self, record: Record) -> Record:
        """Raises OSError."""
        await self._folder.store(record.provider_network, record)
        self._records[record.provider_network] = record
        return record

    async def remove(self, provider_network: str) -> None:
        """Raises OSError."""
        self._records.pop(provider_network, None)
        await self._folder.delete(provider_network)

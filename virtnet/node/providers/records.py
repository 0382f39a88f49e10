"""The journal of plugged-in NICs: one file for each ProviderNetwork, on disk before the first change."""

from pathlib import Path
from typing import Literal

from virtnet.api.meta import Spec
from virtnet.node.providers.nic import Settings
from virtnet.node.providers.objects import NetlinkObject
from virtnet.node.record_store import RecordStore


class PluggingRecord(Spec):
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
    """What the node has on the NIC, or on the bridge: objects of objects.py, as text."""
    token: str = ""
    """The interface identifier by which the bridge is to make its IPv6 addresses; empty where its MAC address does."""
    state: Literal["Plugging", "Plugged", "Unplugging"] = "Plugging"
    bridge_index: int = 0
    """The bridge that has the configuration, which goes with it; 0 while the NIC has it."""

    @property
    def objects(self) -> list[NetlinkObject]:
        return [NetlinkObject.of_text(text) for text in self.configuration]

    @property
    def finished(self) -> bool:
        return self.state == "Plugged"

    @property
    def fallen_back(self) -> bool:
        """Whether the NIC has the configuration, for want of a bridge."""
        return not self.bridge_index


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class Records(RecordStore[str, PluggingRecord]):
    """The records of this node's plugged-in NICs, by ProviderNetwork."""

    def __init__(self, directory: Path) -> None:
        """Raises StoreInUse."""
        super().__init__(directory, PluggingRecord, key=lambda record: record.provider_network, name=str)

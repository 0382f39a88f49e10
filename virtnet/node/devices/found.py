"""What was found on the node, before anything is concluded from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from virtnet.api.node_devices import HugePages, VdpaManagementDevice

LEGACY, SWITCHDEV = "legacy", "switchdev"
"""The modes of an eswitch; in the latter, its ports have representors."""

LinkState = Literal["Up", "NoCarrier", "Disabled"]


@dataclass(frozen=True)
class Netdev:
    """A network interface of a device."""

    name: str
    link: LinkState = "Up"
    port_name: str = ""
    """phys_port_name: which port of an eswitch it is, or stands for."""
    carrier_changes: int = 0
    """How often its carrier has come and gone."""


@dataclass(frozen=True)
class Function:
    """A function of a device, on PCI or on another bus."""

    address: str
    """That of PCI, or bus/name."""
    driver: str = ""
    vendor: str = ""
    product: str = ""
    numa_node: int = -1
    iommu_group: int = -1
    shares_group: bool = False
    """Whether its IOMMU group has another device in it that is no bridge: both go to a guest, or none."""
    interfaces: tuple[Netdev, ...] = ()


@dataclass(frozen=True)
class Nic:
    """A physical function with its virtual ones."""

    physical: Function
    total_vfs: int = 0
    told_vfs: int = 0
    """sriov_numvfs: how many it has been told to have."""
    virtual: Mapping[int, Function] = field(default_factory=dict)
    """Those that are there, by their numbers."""
    representors: tuple[Netdev, ...] = ()
    eswitch_mode: str = ""
    hw_tc_offload: str = ""

    @property
    def uplink(self) -> Netdev | None:
        """The interface that reaches the wire."""
        return next(iter(self.physical.interfaces), None)


@dataclass(frozen=True)
class Found:
    """All of it."""

    nics: tuple[Nic, ...] = ()
    vdpa_management_devices: tuple[VdpaManagementDevice, ...] = ()
    huge_pages: tuple[HugePages, ...] = ()

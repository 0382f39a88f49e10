"""What a node has for fast NICs: the devices that its daemon has found, as its NodeNetwork tells of them.

Virtual functions that do not differ are one entry, because a node may have a thousand.
"""

from pydantic import Field

from virtnet.api.meta import Spec

MOST_NICS = 64
"""That a node tells of: those with virtual functions first."""


class DeviceHealth(Spec):
    """Whether a device can do its work."""

    healthy: bool = Field(default=True, description="Whether it can do its work.")
    reason: str = Field(default="", description="Where it cannot: one CamelCase word for programs.")
    message: str = Field(default="", description="A sentence for people: what, where, and what to do.")


class VirtualFunctions(DeviceHealth):
    """Virtual functions of one NIC that are alike."""

    indices: str = Field(description="Their numbers, such as 0-3,7.")
    addresses: str = Field(description="Their PCI addresses, in the order of their numbers; a range where they follow.")
    driver: str = Field(default="", description="Their driver; empty where they have none.")
    iommu_groups: str = Field(default="", description="Their IOMMU groups; empty where the IOMMU is off.")


class NodeNicDevice(DeviceHealth):
    """One NIC: a physical function."""

    address: str = Field(description="Its PCI address; for a device of another bus, bus/name.")
    interfaces: tuple[str, ...] = Field(default=(), description="Its network interfaces.")
    driver: str = Field(default="", description="Its driver; empty where it has none.")
    vendor: str = Field(default="", description="PCI vendor id, in hexadecimal digits.")
    product: str = Field(default="", description="PCI device id, in hexadecimal digits.")
    numa_node: int = Field(default=-1, description="Its NUMA node; -1 where the machine does not tell.")
    iommu_group: int = Field(default=-1, description="Its IOMMU group; -1 where the IOMMU is off.")
    link: str = Field(
        default="",
        description="Up, NoCarrier, or Disabled (nobody has set it up); empty without an interface. "
        "One that has come back counts as up once it has stayed so for ten seconds.",
    )
    eswitch_mode: str = Field(default="", description="legacy or switchdev; empty where its driver has no eswitch.")
    representors: tuple[str, ...] = Field(
        default=(), description="The port names of its representors, such as pf0vf0-127."
    )
    hw_tc_offload: str = Field(default="", description="on or off; empty where its driver does not have it.")
    total_vfs: int = Field(default=0, description="How many virtual functions it can have.")
    vfs: int = Field(default=0, description="How many it has been told to have.")
    virtual_functions: tuple[VirtualFunctions, ...] = Field(default=(), description="Those that are there.")


class VdpaManagementDevice(Spec):
    """A device that vDPA devices can be made on."""

    name: str = Field(description="Its name, bus/device: that of vdpa mgmtdev show.")
    max_virtqueues: int = Field(default=0, description="How many a vDPA device of it may have; 0 where it is not told.")


class HugePages(Spec):
    """Huge pages of one size on one NUMA node."""

    numa_node: int = Field(description="The NUMA node.")
    size_kib: int = Field(description="The size of one, in KiB.")
    total: int = Field(description="How many there are.")


class SwitchDpdk(DeviceHealth):
    """Whether Open vSwitch serves vhost-user NICs."""

    healthy: bool = Field(default=False, description="Whether it serves vhost-user NICs.")
    version: str = Field(default="", description="The DPDK that it is built with; empty where it is built without.")
    initialized: bool = Field(default=False, description="Whether it has started DPDK.")


class NodeDevices(Spec):
    """What the node has for fast NICs."""

    nics: tuple[NodeNicDevice, ...] = Field(default=(), description="Its NICs, by their addresses.")
    left_out: int = Field(
        default=0, description=f"How many NICs are not told of, where there are more than {MOST_NICS}."
    )
    vdpa_management_devices: tuple[VdpaManagementDevice, ...] = Field(
        default=(), description="Devices that vDPA devices can be made on."
    )
    huge_pages: tuple[HugePages, ...] = Field(default=(), description="Its huge pages, where it has any.")
    dpdk: SwitchDpdk = Field(
        default_factory=SwitchDpdk, description="Its Open vSwitch, as far as vhost-user NICs need it."
    )

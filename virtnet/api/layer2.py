"""What an administrator lets the NICs of a ClusterSubnet do on layer 2 that others may not."""

from pydantic import ConfigDict, Field

from virtnet.api.grammar import NetworkCidr, VmName
from virtnet.api.meta import Spec


class PortSecurity(Spec):
    """Whether a NIC may send from its own MAC and addresses only."""

    enabled: bool = Field(
        default=True,
        description="Whether OVN drops what NICs send from MACs and addresses that are not theirs, and what is neither "
        "IP nor ARP.",
    )
    exempt: tuple[VmName, ...] = Field(
        default=(),
        max_length=64,
        description="VMs and pods whose NICs may send whatever they like, and get what is for MACs that nobody has, "
        "as namespace/name: nested virtual machines, bonds, LLDP, PPPoE.",
    )
    allowed_addresses: tuple[NetworkCidr, ...] = Field(
        default=(),
        max_length=32,
        description="Networks of which workloads may ask for addresses to send from besides their own, by the "
        "annotation virtnet.dev/allowed-addresses: virtual addresses that guests move among themselves, networks "
        "behind a guest. None of them is handed out. Those of a Subnet lie within its cidrs.",
    )


class Vlans(Spec):
    """One VLAN, or a range of them."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "has(self.id) ? !has(self.minID) && !has(self.maxID)"
                    " : has(self.minID) && has(self.maxID) && self.minID <= self.maxID",
                    "message": "must be one VLAN by its id, or a range from minID to maxID; all are 1 to 4094",
                },
            ]
        }
    )

    id: int | None = Field(default=None, ge=1, le=4094, description="One VLAN.")
    min_id: int | None = Field(default=None, alias="minID", ge=1, le=4094, description="The first of a range.")
    max_id: int | None = Field(default=None, alias="maxID", ge=1, le=4094, description="The last of it.")

    @property
    def range(self) -> range:
        """What was stored before there was the rule has none."""
        if self.id is not None:
            return range(self.id, self.id + 1)
        return range(0) if self.min_id is None or self.max_id is None else range(self.min_id, self.max_id + 1)


class VlanTrunk(Spec):
    """Frames with VLAN tags that some NICs may send and get."""

    vlans: tuple[Vlans, ...] = Field(min_length=1, max_length=64, description="The tags that they have.")
    vms: tuple[VmName, ...] = Field(
        default=(),
        max_length=64,
        description="VMs and pods whose NICs these are, as namespace/name. Default: all NICs of the ClusterSubnet.",
    )

"""From API objects to the rows that OVN needs for them: one function for each kind, and none knows another.

Every part of a kind (its switch, its gateway, its DHCP) is a compiler of its own; a further part is a further line.
"""

from collections.abc import Sequence

from virtnet.api import ClusterSubnet, Subnet
from virtnet.topology.dhcp4 import dhcp4_rows, has_own_dhcp4, port_dhcp4_rows
from virtnet.topology.dhcp6 import advertisements, dhcp6_rows
from virtnet.topology.port import port_rows
from virtnet.topology.rows import Row
from virtnet.topology.switch import ALONE, Addressing, Beside, gateway_rows, switch_rows
from virtnet.topology.underlay import localnet_rows, silence_rows
from virtnet.topology.vpc import vpc_rows

__all__ = ["has_own_dhcp4", "port_dhcp4_rows", "port_rows", "subnet_rows", "vpc_rows"]


def subnet_rows(subnet: Subnet | ClusterSubnet, pools: Sequence[Addressing], beside: Beside = ALONE) -> list[Row]:
    """All rows of a Subnet. They hang on the router of its Vpc, whose rows must be there or come along."""
    return [
        *switch_rows(subnet, pools),
        *gateway_rows(subnet, pools, beside, advertisements(subnet)),
        *localnet_rows(subnet),
        *silence_rows(subnet, pools),
        *dhcp4_rows(subnet, pools, beside),
        *dhcp6_rows(subnet, pools),
    ]

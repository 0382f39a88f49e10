"""From API objects to the rows that OVN needs for them: one function for each kind, and none knows another.

Every part of a kind (its switch, its gateway, its DHCP) is a compiler of its own; a further part is a further line.
"""

from collections.abc import Collection, Sequence

from virtnet.api import ClusterSubnet, Subnet
from virtnet.api.strings import check
from virtnet.topology.dhcp4 import dhcp4_rows, has_own_dhcp4, left_out, port_dhcp4_rows
from virtnet.topology.dhcp6 import advertisements, dhcp6_rows
from virtnet.topology.external import external_rows
from virtnet.topology.port import port_rows
from virtnet.topology.router_messages import router_message_rows
from virtnet.topology.rows import Row
from virtnet.topology.switch import NO_NEIGHBOURS, Addressing, VpcNeighbours, gateway_rows, switch_rows
from virtnet.topology.underlay import localnet_rows, router_acl_rows
from virtnet.topology.vlan_trunk import trunk_rows
from virtnet.topology.vpc import vpc_rows

__all__ = ["has_own_dhcp4", "left_out", "port_dhcp4_rows", "port_rows", "subnet_rows", "vpc_rows"]


def subnet_rows(
    subnet: Subnet | ClusterSubnet,
    pools: Sequence[Addressing],
    neighbours: VpcNeighbours = NO_NEIGHBOURS,
    chassis: Collection[str] = (),
) -> list[Row]:
    """All rows of a Subnet. They hang on the router of its Vpc, whose rows must be there or come along.

    ``chassis``: those that are on its physical network.
    Raises Ungrammatical for a Subnet whose strings are not of their types, however it came to be stored.
    """
    check(subnet.metadata)
    check(subnet.spec)
    return [
        *switch_rows(subnet, pools),
        *gateway_rows(subnet, pools, neighbours, advertisements(subnet)),
        *localnet_rows(subnet),
        *external_rows(subnet, chassis),
        *router_acl_rows(subnet, pools),
        *router_message_rows(subnet),
        *trunk_rows(subnet),
        *dhcp4_rows(subnet, pools, neighbours),
        *dhcp6_rows(subnet, pools),
    ]

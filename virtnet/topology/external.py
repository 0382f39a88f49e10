"""Ports of NICs that no switch of OVN's has, such as virtual functions: OVN answers their DHCP, and says which routers
there are, from a chassis that is on their physical network (ovn-nb(5), "external").

It is the same chassis for all of a Subnet's, as switches outside see the router's MAC where it answers from.
"""

import hashlib
from collections.abc import Collection, Iterator

from virtnet.api import ClusterSubnet, Subnet, SubnetRef
from virtnet.topology.names import part, row_name, switch_key
from virtnet.topology.ownership import own
from virtnet.topology.rows import Key, Parent, Row

EXTERNAL = "external"
MOST_CHASSIS = 3
"""In a group: each watches all others by BFD."""


def group_key(ref: SubnetRef) -> Key:
    return part("HA_Chassis_Group", switch_key(ref))


def external_rows(subnet: Subnet | ClusterSubnet, chassis: Collection[str]) -> Iterator[Row]:
    """Which chassis answer for the external ports of an underlay; nothing for an overlay, which has none.

    ``chassis``: all that are on its physical network. The same of them are chosen again whichever others come and go,
    and others for another Subnet.
    """
    if not subnet.spec.underlay:
        return
    switch, group = switch_key(subnet.ref), group_key(subnet.ref)
    yield Row(group, {"name": row_name(group), "external_ids": own(group)})
    chosen = sorted(chassis, key=lambda one: hashlib.sha256(f"{switch.id} {one}".encode()).digest())[:MOST_CHASSIS]
    for rank, name in enumerate(chosen):
        key = part("HA_Chassis", switch, name)
        yield Row(
            key,
            {"chassis_name": name, "priority": MOST_CHASSIS - rank, "external_ids": own(key)},
            Parent(group, "ha_chassis"),
        )

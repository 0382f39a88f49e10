"""The addresses of a Vpc's router in a Subnet that are changed in use: it answers for the old ones for one lease time.

Guests learn of the new gateway when they renew their leases, and the new router address of an underlay likewise.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from virtnet.addressing.pool import Pool
from virtnet.api.subnet_status import FormerAddress
from virtnet.features.sources import AnySubnet
from virtnet.topology.switch import present_interfaces


def router_addresses(subnet: AnySubnet, pools: Sequence[Pool]) -> tuple[str, ...]:
    """What the router has now."""
    return tuple(str(interface.ip) for interface in present_interfaces(subnet, pools))


def former_addresses(subnet: AnySubnet, pools: Sequence[Pool], now: datetime) -> tuple[FormerAddress, ...]:
    """What it had, as far as guests may still use it: what its status knows of, and what a change has just replaced."""
    until = now.replace(microsecond=0) + timedelta(seconds=subnet.spec.dhcp.lease_seconds)
    before = subnet.status.router_addresses if pools else ()  # nothing is known of what is invalid
    replaced = (FormerAddress(address=one, until=until) for one in before)
    taken = {*router_addresses(subnet, pools), *(str(pool.gateway) for pool in pools)}
    found: dict[str, FormerAddress] = {}
    for one in (*subnet.status.former_addresses, *replaced):
        if one.address not in taken and one.until > now:
            found.setdefault(one.address, one)
    return tuple(found.values())


def until_next(former: Sequence[FormerAddress], now: datetime) -> timedelta | None:
    """When the first of them is to be given up; None where there is none."""
    return min((one.until - now for one in former), default=None)

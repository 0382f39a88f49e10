"""Taking back addresses that are held for VMs and pods that never came, say because a quota refused them."""

import asyncio
from collections.abc import Iterator
from itertools import islice

import structlog

from virtnet.addressing.held import HeldAddress
from virtnet.api import AddressLease, Port
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import Conflict, NotFound
from virtnet.kube.kinds import PODS, VMIS, VMS
from webhooks.cache import LeaseCache

log = structlog.get_logger()

MOST_LOOKED_AT = 4
"""How many are looked at for one address that is wanted."""

LEASES, PORTS = kinds.of(AddressLease), kinds.of(Port)


async def take_back(
    cluster: Cluster, leases: LeaseCache, overdue: Iterator[HeldAddress], *, dry_run: bool
) -> HeldAddress | None:
    """Free the address that has been held longest for nobody; None where there is none. Raises ApiError.

    A dry run frees nothing, and learns what could be.
    """
    for lease in islice(overdue, MOST_LOOKED_AT):
        with leases.reservations.looking_at(lease):
            if not await _has_come(cluster, lease) and (dry_run or await _freed(cluster, leases, lease)):
                log.info("held for nobody", lease=lease.name, port=lease.port, freed=not dry_run)
                return lease
            leases.reservations.postpone(lease)
    return None


async def _freed(cluster: Cluster, leases: LeaseCache, lease: HeldAddress) -> bool:
    """Whether it was ours to free: it may have been claimed again."""
    try:
        await cluster.delete(LEASES, lease.name, uid=lease.uid, resource_version=lease.version)
    except (Conflict, NotFound):
        return False
    leases.discard_deleted(lease.name, lease.uid)
    return True


async def _has_come(cluster: Cluster, lease: HeldAddress) -> bool:
    """Whether the API server has the VM or pod that a lease is held for, or the Port of one that has been there."""
    owners = (PODS,) if lease.owner_kind == "Pod" else (VMS, VMIS)
    objects = ((PORTS, lease.port.partition("/")[2]), *((kind, lease.owner_name) for kind in owners))
    return any(await asyncio.gather(*(cluster.exists(kind, name, lease.namespace) for kind, name in objects)))

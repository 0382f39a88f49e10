"""Bridges that have lost their switch: what the node has on them moves to the NIC, with no switch to ask.

A switch in userspace leaves its bridges' links without a carrier when it dies; where it removes them, addresses and
routes go with them. One in the kernel goes on by itself.
"""

import contextlib
import socket

import structlog
from pyroute2 import IPRoute

from virtnet.node.netns import inside
from virtnet.node.providers.configuration import move
from virtnet.node.providers.ingress import IngressFilters
from virtnet.node.providers.nic import PhysicalNic
from virtnet.node.providers.records import PluggingRecord, Records, boot_id

log = structlog.get_logger()


async def fall_back(records: Records, ingress: IngressFilters) -> dict[str, Exception]:
    """Move the configuration of each lost bridge to its NIC. Returns errors by ProviderNetwork; it may be repeated."""
    failures: dict[str, Exception] = {}
    for record in records:
        try:
            await _fall_back(record, records, ingress)
        except OSError as error:
            log.warning("to be retried", nic=record.nic, bridge=record.bridge, error=str(error))
            failures[record.provider_network] = error
    return failures


async def _fall_back(record: PluggingRecord, records: Records, ingress: IngressFilters) -> None:
    nic = await inside(ingress.here, lambda netlink: PhysicalNic.find(netlink, record.nic) or nic_of(netlink, record))
    if nic is not None and await lost(record, ingress.here):
        await ingress.unblock(record.nic)
        await inside(ingress.here, lambda netlink: move(netlink, record.objects, record.bridge, nic.name))
        await records.write(record.model_copy(update={"bridge_index": 0}))
        log.warning("bridge lost; its configuration is on the NIC", nic=nic.name, bridge=record.bridge)


def nic_of(netlink: IPRoute, record: PluggingRecord) -> PhysicalNic | None:
    """Return the NIC of a record, also when it has another name by now; None for another NIC of its name."""
    found = PhysicalNic.find(netlink, record.nic)
    if found is None:
        with contextlib.suppress(OSError):
            found = PhysicalNic.find(netlink, socket.if_indextoname(record.nic_index))
    return found if found and found.mac == record.mac else None


async def lost(record: PluggingRecord, here: str) -> bool:
    """Return whether the bridge has lost its configuration: then only the journal has it."""

    def works(netlink: IPRoute) -> bool:
        bridge = PhysicalNic.find(netlink, record.bridge)
        return bridge is not None and bridge.index == record.bridge_index and bridge.carrier

    return record.boot == boot_id() and not record.fallen_back and not await inside(here, works)

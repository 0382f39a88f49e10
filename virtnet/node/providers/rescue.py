"""Bridges that have lost their switch: what the node has on them moves to the NIC, with no switch to ask.

A switch in userspace leaves its bridges' links without a carrier when it dies; where it removes them, addresses and
routes go with them. One in the kernel goes on by itself.
"""

import structlog
from pyroute2 import IPRoute

from virtnet.node.netns import inside
from virtnet.node.providers.configuration import move
from virtnet.node.providers.hearing import Hearing
from virtnet.node.providers.nic import Nic
from virtnet.node.providers.records import Record, Records, boot_id

log = structlog.get_logger()


async def rescue(records: Records, hearing: Hearing) -> dict[str, Exception]:
    """What could not be moved, by ProviderNetwork: it may be tried again."""
    failures: dict[str, Exception] = {}
    for record in records:
        try:
            await _rescue(record, records, hearing)
        except OSError as error:
            log.warning("to be retried", nic=record.nic, bridge=record.bridge, error=str(error))
            failures[record.provider_network] = error
    return failures


async def _rescue(record: Record, records: Records, hearing: Hearing) -> None:
    if await lost(record, hearing.here) and await _exists(record.nic, hearing.here):
        await hearing.open(record.nic)
        await _move_back(record, hearing.here)
        await records.write(record.model_copy(update={"bridge_index": 0}))
        log.warning("bridge lost; its configuration is on the NIC", nic=record.nic, bridge=record.bridge)


async def lost(record: Record, here: str) -> bool:
    """Whether the bridge that had the configuration carries it no more: then only the journal tells what it was."""

    def works(netlink: IPRoute) -> bool:
        bridge = Nic.find(netlink, record.bridge)
        return bridge is not None and bridge.index == record.bridge_index and bridge.carrier

    return record.boot == boot_id() and not record.fallen_back and not await inside(here, works)


async def _exists(name: str, here: str) -> bool:
    return await inside(here, lambda netlink: Nic.find(netlink, name)) is not None


async def _move_back(record: Record, here: str) -> None:
    await inside(here, lambda netlink: move(netlink, record.entries, record.bridge, record.nic))

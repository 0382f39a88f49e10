"""Telling a physical network that a guest has come to this node, so that nothing is sent to where it was before.

Nobody else does so in time: OVN lets no RARP through where a port is bound to its addresses, and sends a gratuitous ARP
of its own only a second after it has bound the port; a guest need not announce itself at all. Machines within a guest
have not noticed that it has moved: they are announced by their MACs, as OVN has learnt these (ovn-sb(5), FDB).
"""

import asyncio
from collections.abc import Mapping
from itertools import islice, product

import structlog

from virtnet.api import NodeHandoff, NodeHandoffStatus
from virtnet.node.frames import announcements
from virtnet.node.handoff.ways_out import WaysOut
from virtnet.node.journal import Entry, Journal
from virtnet.node.request import AttachmentId

log = structlog.get_logger()

REPEATED_AFTER = (0.0, 0.1, 0.5)
"""Seconds: a frame that is lost once does no harm."""

MOST_FURTHER = 256
"""Of a guest's VLANs, and of machines within it, each in each: for all of them the network is told three times."""


class Announcer:
    """Announces the NICs of this node. Used from one event loop."""

    def __init__(self, journal: Journal, ways: WaysOut) -> None:
        self._journal = journal
        self._ways = ways
        self._arrived: set[tuple[str, str]] = set()
        """Port and migration of guests that have been announced here while their handoff went on."""
        self._parts: dict[tuple[str, str], NodeHandoff] = {}
        """Handoffs to this node, by Port and migration."""
        self._tasks: set[asyncio.Task[None]] = set()

    def arrived(self, id_: AttachmentId) -> None:
        """The guest of a NIC has been heard here."""
        entry = self._journal.get(id_)
        if entry is not None:
            self._announce(entry)

    async def follow(self, handoffs: Mapping[str, NodeHandoff]) -> None:
        """Announce guests that are known to be here, and again those whose handoff is over: OVN sends otherwise now."""
        here = {
            (port, part.migration) for port, part in handoffs.items() if part.role == "Target" and part.guest_running
        }
        going_on = {(port, part.migration) for port, part in handoffs.items() if part.role == "Target"}
        over = {key for key in self._arrived if key not in going_on}
        self._parts = {key: part for key, part in self._parts.items() if key in over}
        self._parts |= {(port, part.migration): part for port, part in handoffs.items() if part.role == "Target"}
        for port, migration in sorted((here - self._arrived) | over):
            for entry in self._journal.of_port(port):
                if entry.migration == migration and entry.released_at is None:
                    self._announce(entry)
        self._arrived = (self._arrived | here) - over

    def statuses(self, handoffs: Mapping[str, NodeHandoff]) -> dict[str, NodeHandoffStatus]:
        """Nothing: nobody waits for an announcement."""
        return {}

    def _announce(self, entry: Entry) -> None:
        if entry.attachment.underlay is None:
            return
        part = self._parts.get((entry.attachment.port, entry.migration))
        task = asyncio.ensure_future(self._repeat(entry, part))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _repeat(self, entry: Entry, part: NodeHandoff | None) -> None:
        began = asyncio.get_running_loop().time()
        for delay in REPEATED_AFTER:
            await asyncio.sleep(max(0.0, began + delay - asyncio.get_running_loop().time()))
            now = self._journal.get(entry.id)
            if now is None or now.released_at is not None:
                return
            try:
                await self._once(entry, part)
            except (OSError, TimeoutError, EOFError) as error:
                log.warning("not announced", port=entry.attachment.port, error=str(error))
                return
        log.info("announced", port=entry.attachment.port, nic=str(entry.id))

    async def _once(self, entry: Entry, part: NodeHandoff | None) -> None:
        attachment, settings = entry.attachment, entry.attachment.virtual_function
        if attachment.underlay is None:
            return
        vlan, protocol = attachment.underlay.vlan, (settings and settings.vlan_protocol) or "802.1Q"
        await self._ways.send(entry, announcements(attachment.mac, attachment.bare_addresses, vlan, protocol))
        if part is not None:
            macs = [attachment.mac, *await self._ways.nested(attachment.mac, part.path)]
            further = islice(product(macs, (vlan, *part.vlans)), 1, 1 + MOST_FURTHER)
            await self._ways.send(entry, [frame for mac, vlan in further for frame in announcements(mac, (), vlan)])

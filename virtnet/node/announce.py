"""Telling a physical network that a guest has come to this node, so that nothing is sent to where it was before.

Nobody else does so in time: OVN lets no RARP through where a port is bound to its addresses, and sends a gratuitous ARP
of its own only a second after it has bound the port; a guest need not announce itself at all.
"""

import asyncio
from pathlib import Path

import structlog

from virtnet.api import NodeHandoff
from virtnet.node.frames import announcements
from virtnet.node.journal import Entry, Journal
from virtnet.node.openflow import inject, socket_of
from virtnet.node.request import AttachmentId
from virtnet.ovn.vswitch import VSwitch
from virtnet.topology.names import localnet_name

log = structlog.get_logger()

REPEATED_AFTER = (0.0, 0.1, 0.5)
"""Seconds: a frame that is lost once does no harm."""


class Announcer:
    """Announces the NICs of this node. Used from one event loop."""

    def __init__(self, journal: Journal, vswitch: VSwitch, sockets: Path | None) -> None:
        """``sockets``: where the switch has its bridges' management sockets; None where they cannot be reached."""
        self._journal = journal
        self._vswitch = vswitch
        self._sockets = sockets
        self._arrived: set[tuple[str, str]] = set()
        """Port and migration of guests that have been announced here while their handoff went on."""
        self._tasks: set[asyncio.Task[None]] = set()

    def arrived(self, id_: AttachmentId) -> None:
        """The guest of a NIC has been heard here."""
        entry = self._journal.get(id_)
        if entry is not None:
            self._announce(entry)

    def follow(self, handoffs: dict[str, NodeHandoff]) -> None:
        """Announce guests that are known to be here, and again those whose handoff is over: OVN sends otherwise now."""
        here = {(port, part.migration) for port, part in handoffs.items() if part.role == "Target" and part.open}
        going_on = {(port, part.migration) for port, part in handoffs.items() if part.role == "Target"}
        over = {key for key in self._arrived if key not in going_on}
        for port, migration in sorted((here - self._arrived) | over):
            for entry in self._journal.of_port(port):
                if entry.migration == migration and entry.released_at is None:
                    self._announce(entry)
        self._arrived = (self._arrived | here) - over

    def _announce(self, entry: Entry) -> None:
        if entry.attachment.underlay is None:
            return
        task = asyncio.ensure_future(self._repeat(entry))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _repeat(self, entry: Entry) -> None:
        began = asyncio.get_running_loop().time()
        for delay in REPEATED_AFTER:
            await asyncio.sleep(max(0.0, began + delay - asyncio.get_running_loop().time()))
            now = self._journal.get(entry.id)
            if now is None or now.released_at is not None:
                return
            try:
                await self._once(entry)
            except (OSError, TimeoutError, EOFError) as error:
                log.warning("not announced", port=entry.attachment.port, error=str(error))
                return
        log.info("announced", port=entry.attachment.port, nic=str(entry.id))

    async def _once(self, entry: Entry) -> None:
        """Through the bridge, as if from OVN: so the bridge itself learns that the guest is behind OVN's port.

        It may have learnt the guest's MAC from outside, and would then take what comes for it from there for its own.
        """
        attachment = entry.attachment
        if attachment.underlay is None:
            return
        bridge = self._vswitch.bridge_mappings.get(attachment.underlay.provider_network, "")
        patch = self._vswitch.patch(localnet_name(attachment.subnet))
        port = self._vswitch.ofport(patch)
        if not bridge or not port or self._sockets is None:
            raise FileNotFoundError(
                f"no way to {attachment.underlay.provider_network}: bridge {bridge!r}, port {patch}"
            )
        frames = announcements(attachment.mac, attachment.bare_addresses, attachment.underlay.vlan)
        await inject(socket_of(self._sockets, bridge), port, frames)

"""Whether a guest that has arrived answers. QEMU announces it whatever has become of it, so that says nothing.

Once the controller says that the guest runs here, its NIC is asked for each of its addresses (ARP, neighbour
discovery), without a sender's address and under a MAC that nobody has, until anything but QEMU's announcement comes
from its own MAC. Nothing is done about one that is silent: the network has done its part by then, and the controller
says so.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from virtnet.api import NodeHandoff, NodeHandoffStatus
from virtnet.node.frames import RARP, question
from virtnet.node.journal import Entry, Journal
from virtnet.node.netns import inside
from virtnet.node.packets import OUTGOING, listener

log = structlog.get_logger()

ASK_SECONDS = 0.1
PATIENCE_SECONDS = 30.0
"""How long one is asked: the controller gives up earlier, and the handoff is over then."""

ASKER = "02:76:6e:ff:ff:ff"

Key = tuple[str, str]
"""Port and migration."""


@dataclass
class Arrivals:
    """Those of this node. Used from one event loop."""

    here: str
    """The node's network namespace, as a path."""
    journal: Journal
    changed: Callable[[], None]
    _asking: dict[Key, asyncio.Task[None]] = field(default_factory=dict)
    _asked: dict[Key, datetime] = field(default_factory=dict)
    _answered: dict[Key, datetime] = field(default_factory=dict)

    def follow(self, handoffs: dict[str, NodeHandoff]) -> None:
        """Ask those that are said to be here; forget those whose handoffs are over."""
        here = {(port, part.migration) for port, part in handoffs.items() if part.role == "Target" and part.open}
        for key in self._asked.keys() - here:
            del self._asked[key]
            self._answered.pop(key, None)
            self._asking.pop(key).cancel()
        for key in here - self._asked.keys():
            entry = next((one for one in self.journal.of_port(key[0]) if one.migration == key[1]), None)
            if entry is not None and entry.attachment.addresses:
                self._asked[key] = datetime.now(UTC)
                self._asking[key] = asyncio.create_task(self._ask(key, entry), name=f"ask the guest of {key[0]}")

    def answers(self, handoffs: dict[str, NodeHandoff]) -> dict[str, NodeHandoffStatus]:
        """What the controller is to be told."""
        return {
            port: NodeHandoffStatus(
                migration=migration, asked_at=moment, answered_at=self._answered.get((port, migration))
            )
            for (port, migration), moment in self._asked.items()
            if port in handoffs and handoffs[port].migration == migration
        }

    async def _ask(self, key: Key, entry: Entry) -> None:
        try:
            guest = await inside(
                self.here, lambda _: listener(entry.host_name, source=entry.attachment.mac, other_than=RARP)
            )
        except OSError as error:  # its NIC is going away
            log.info("not asked", port=key[0], error=str(error))
            return
        nic = entry.attachment
        questions = [question(ASKER, address, 0, to=nic.mac) for address in nic.bare_addresses]
        with guest:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while not await _heard(guest):
                        for asked in questions:
                            guest.send(asked)
            except TimeoutError:
                log.warning("a guest answers nothing", port=key[0], nic=str(entry.id))
                return
            except OSError as error:
                log.info("not asked any more", port=key[0], error=str(error))
                return
        self._answered[key] = datetime.now(UTC)
        log.info("the guest answers", port=key[0], nic=str(entry.id))
        self.changed()


async def _heard(guest: socket.socket) -> bool:
    """Whether anything of the guest's own comes in within a moment."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(ASK_SECONDS):
            while True:
                _, address = await loop.sock_recvfrom(guest, 64)
                if address[2] != OUTGOING:
                    return True
    except TimeoutError:
        return False

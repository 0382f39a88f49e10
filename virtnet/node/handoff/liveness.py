"""Whether a guest that has arrived answers. QEMU announces it whatever has become of it, so that says nothing.

Once the controller says that the guest runs here, its NIC is probed for each of its addresses (ARP, neighbour
discovery), without a sender's address and under a MAC that nobody has, until anything but QEMU's announcement comes
from its own MAC. Nothing is done about one that is silent: the network has done its part by then, and the controller
says so.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from virtnet.api import NodeHandoff, NodeHandoffStatus
from virtnet.node.frames import RARP, question
from virtnet.node.handoff import HandoffKey
from virtnet.node.journal import Entry, Journal
from virtnet.node.netns import inside
from virtnet.node.packets import OUTGOING, listener

log = structlog.get_logger()

PROBE_SECONDS = 0.1
PATIENCE_SECONDS = 30.0
"""How long one is probed: the controller gives up earlier, and the handoff is over then."""

PROBER = "02:76:6e:ff:ff:ff"


@dataclass
class LivenessProbes:
    """Probes the guests that have arrived on this node. Used from one event loop."""

    here: str
    """The node's network namespace, as a path."""
    journal: Journal
    hook: Callable[[Entry], str | None]
    """The link by which a NIC's guest is probed; None where there is none."""
    changed: Callable[[], None]
    _probing: dict[HandoffKey, asyncio.Task[None]] = field(default_factory=dict)
    _probed: dict[HandoffKey, datetime] = field(default_factory=dict)
    _answered: dict[HandoffKey, datetime] = field(default_factory=dict)

    async def follow(self, handoffs: Mapping[str, NodeHandoff]) -> None:
        """Probe those that are said to be here; forget those whose handoffs are over."""
        here = {
            (port, part.migration) for port, part in handoffs.items() if part.role == "Target" and part.guest_running
        }
        for key in self._probed.keys() - here:
            del self._probed[key]
            self._answered.pop(key, None)
            self._probing.pop(key).cancel()
        for key in here - self._probed.keys():
            entry = next((one for one in self.journal.of_port(key[0]) if one.migration == key[1]), None)
            device = self.hook(entry) if entry is not None else None
            if entry is not None and device is not None and entry.attachment.addresses:
                self._probed[key] = datetime.now(UTC)
                asking = self._probe(key, entry, device)
                self._probing[key] = asyncio.create_task(asking, name=f"probe the guest of {key[0]}")

    def statuses(self, handoffs: Mapping[str, NodeHandoff]) -> dict[str, NodeHandoffStatus]:
        """What is reported of them, by port."""
        return {
            port: NodeHandoffStatus(
                migration=migration, probed_at=moment, answered_at=self._answered.get((port, migration))
            )
            for (port, migration), moment in self._probed.items()
            if port in handoffs and handoffs[port].migration == migration
        }

    async def _probe(self, key: HandoffKey, entry: Entry, device: str) -> None:
        try:
            guest = await inside(self.here, lambda _: listener(device, source=entry.attachment.mac, other_than=RARP))
        except OSError as error:  # its NIC is going away
            log.info("not probed", port=key[0], error=str(error))
            return
        nic = entry.attachment
        probes = [question(PROBER, address, 0, to=nic.mac) for address in nic.bare_addresses]
        with guest:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while not await _heard(guest):
                        for probe in probes:
                            guest.send(probe)
            except TimeoutError:
                log.warning("a guest answers nothing", port=key[0], nic=str(entry.id))
                return
            except OSError as error:
                log.info("not probed any more", port=key[0], error=str(error))
                return
        self._answered[key] = datetime.now(UTC)
        log.info("the guest answers", port=key[0], nic=str(entry.id))
        self.changed()


async def _heard(guest: socket.socket) -> bool:
    """Whether anything of the guest's own comes in within a moment."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            while True:
                _, address = await loop.sock_recvfrom(guest, 64)
                if address[2] != OUTGOING:
                    return True
    except TimeoutError:
        return False

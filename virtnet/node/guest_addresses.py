"""Which addresses guests have that the site gives them: heard from the guests themselves, for people alone.

Such a guest announces an address to its neighbours before it uses it (RFC 5227, RFC 4862), and answers them for it.
What it says is its own word: it is shown in its Port's status, and nothing is decided by it.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import structlog
from pyroute2 import IPRoute

from virtnet.api.addresses import seen
from virtnet.node.frames import ARP, IPV6, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, assumed
from virtnet.node.journal import Entry, Journal
from virtnet.node.netns import inside
from virtnet.node.packets import listener
from virtnet.node.request import AttachmentId

log = structlog.get_logger()

LOOK_SECONDS = 1.0
FRAMES_PER_LOOK = 64
"""That are read of one socket: what a guest sends beyond is dropped by the kernel."""

MOST = 8
"""Addresses of one guest. Once it has said as many, one is forgotten for each that is new, and that seldom."""

SELDOM_SECONDS = 60.0
STALE_SECONDS = 3600.0
"""After which an address that was not heard again goes, once the guest has another of its family."""


@dataclass
class Heard:
    """One guest: where it is heard, and what it has said."""

    entry: Entry
    sockets: list[socket.socket] = field(default_factory=list)
    addresses: dict[str, float] = field(default_factory=dict)
    """Address -> when it was heard last, on the monotonic clock."""
    changed_at: float = 0.0

    def note(self, address: str, now: float) -> None:
        """That it has said so. One that says ever new ones is not listened to as often as it likes."""
        if address in self.addresses:
            self.addresses[address] = now
            return
        if len(self.addresses) >= MOST:
            if now - self.changed_at < SELDOM_SECONDS:
                return
            del self.addresses[min(self.addresses, key=self.addresses.__getitem__)]
        family = ":" in address
        for other, moment in tuple(self.addresses.items()):
            if (":" in other) == family and now - moment > STALE_SECONDS:
                del self.addresses[other]
        self.addresses[address] = self.changed_at = now

    def read(self, now: float) -> None:
        """Hear what has come. Raises OSError where the link is gone."""
        for one in self.sockets:
            for _ in range(FRAMES_PER_LOOK):
                try:
                    frame = one.recv(128)
                except BlockingIOError:
                    break
                for address in seen([assumed(frame)]):
                    self.note(address, now)

    def close(self) -> None:
        for one in self.sockets:
            one.close()


class GuestAddresses:
    """Of the NICs of this node that have no addresses of their Subnet's. Used from one event loop."""

    def __init__(self, here: str, journal: Journal, hook: Callable[[Entry], str | None]) -> None:
        """``here``: the node's network namespace, as a path; ``hook``: the link by which a NIC's guest is heard."""
        self._here = here
        self._journal = journal
        self._hook = hook
        self._heard: dict[AttachmentId, Heard] = {}
        self._changed: Callable[[], None] = lambda: None

    @property
    def seen(self) -> dict[str, tuple[str, ...]]:
        """By key of the Port; without those that have said nothing."""
        return {one.entry.attachment.port: seen(one.addresses) for one in self._heard.values() if one.addresses}

    def on_change(self, call: Callable[[], None]) -> None:
        self._changed = call

    async def run(self) -> None:
        """Listen until cancelled."""
        try:
            while True:
                before = self.seen
                await self._follow()
                self._read()
                if self.seen != before:
                    self._changed()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for one in self._heard.values():
                one.close()

    async def _follow(self) -> None:
        """Listen to those that are attached, and to no others."""
        wanted = {
            entry.id: entry
            for entry in self._journal
            if entry.state == "Attached" and entry.released_at is None and not entry.attachment.addresses
        }
        for id_ in self._heard.keys() - wanted.keys():
            self._heard.pop(id_).close()
        for id_ in wanted.keys() - self._heard.keys():
            entry = wanted[id_]
            device = self._hook(entry)
            if device is None:  # its guest's agent may say
                continue
            try:
                self._heard[id_] = Heard(entry, await self._listen(device, entry.attachment.mac))
            except OSError as error:  # it is going away, or is not there yet
                log.info("not listened to", port=entry.attachment.port, error=str(error))

    async def _listen(self, device: str, mac: str) -> list[socket.socket]:
        """Raises OSError."""

        def opened(_: IPRoute) -> list[socket.socket]:
            with ExitStack() as stack:
                found = [
                    stack.enter_context(listener(device, source=mac, kind=kind, icmp6=type_))
                    for kind, type_ in ((ARP, 0), (IPV6, NEIGHBOUR_ADVERTISEMENT), (IPV6, NEIGHBOUR_SOLICITATION))
                ]
                stack.pop_all()
                return found

        return await inside(self._here, opened)

    def _read(self) -> None:
        now = time.monotonic()
        for id_, one in tuple(self._heard.items()):
            try:
                one.read(now)
            except OSError as error:
                log.info("not listened to any more", port=one.entry.attachment.port, error=str(error))
                self._heard.pop(id_).close()

"""Whether a guest that has arrived answers. QEMU announces it whatever has become of it, so that says nothing.

Once the controller says that the guest runs here, its NIC is asked by ARP, without a sender's address and under a MAC
that nobody has, until anything but QEMU's announcement comes from its own MAC. Nothing is done about one that is
silent: the network has done its part by then, and the controller says so.
"""

import array
import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from virtnet.api import NodeHandoff, NodeHandoffStatus
from virtnet.node.journal import Entry, Journal
from virtnet.node.netns import inside

log = structlog.get_logger()

ASK_SECONDS = 0.1
PATIENCE_SECONDS = 30.0
"""How long one is asked: the controller gives up earlier, and the handoff is over then."""

ASKER = bytes.fromhex("02766effffff")
_ALL_PROTOCOLS = 0x0003
_ATTACH_FILTER = 26
_OUTGOING = 4
_RARP = 0x8035

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
            if entry is not None and _ipv4(entry):
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
            guest = await inside(self.here, lambda _: _listener(entry.host_name, entry.attachment.mac))
        except OSError as error:  # its NIC is going away
            log.info("not asked", port=key[0], error=str(error))
            return
        question = _question(entry.attachment.mac, _ipv4(entry))
        with guest:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while not await _heard(guest):
                        guest.send(question)
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
                if address[2] != _OUTGOING:
                    return True
    except TimeoutError:
        return False


def _ipv4(entry: Entry) -> str:
    """The NIC's IPv4 address; empty where it has none."""
    return next((one.partition("/")[0] for one in entry.attachment.addresses if "." in one), "")


def _question(mac: str, address: str) -> bytes:
    """An ARP probe (RFC 5227) to one MAC."""
    guest = bytes.fromhex(mac.replace(":", ""))
    head = guest + ASKER + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return head + ASKER + bytes(4) + bytes(6) + socket.inet_aton(address)


def _listener(device: str, mac: str) -> socket.socket:
    """A socket that hears what a guest sends on a device, QEMU's announcements aside. Raises OSError."""
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        _filter(listener, bytes.fromhex(mac.replace(":", "")))
        listener.bind((device, _ALL_PROTOCOLS))
    except BaseException:
        listener.close()
        raise
    return listener


def _filter(listener: socket.socket, mac: bytes) -> None:
    """Let the kernel filter (a struct sock_fprog of classic BPF)."""
    load_word, load_half, equal, end = 0x20, 0x28, 0x15, 0x06
    high, low = struct.unpack("!IH", mac)
    program = array.array("B")
    for code, if_true, if_false, value in (
        (load_word, 0, 0, 6),
        (equal, 0, 5, high),
        (load_half, 0, 0, 10),
        (equal, 0, 3, low),
        (load_half, 0, 0, 12),
        (equal, 1, 0, _RARP),
        (end, 0, 0, 0xFFFF),
        (end, 0, 0, 0),
    ):
        program.frombytes(struct.pack("=HBBI", code, if_true, if_false, value))
    address, length = program.buffer_info()
    listener.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("@HP", length // 8, address))

"""Before a NIC gets an address of a physical network: is that network here, and has nobody outside the address, or MAC?

Leases keep virtnet's own NICs apart; a machine outside knows nothing of them. So it is asked on the wire, by ARP probes
(RFC 5227) and neighbour solicitations as for duplicate address detection (RFC 4862), from the bridge's own port.
"""

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from virtnet.api import NodeConflict
from virtnet.node.frames import claim, question
from virtnet.node.journal import Entry
from virtnet.node.netns import inside
from virtnet.node.packets import listener
from virtnet.node.request import CniError
from virtnet.ovn.vswitch import VSwitch
from virtnet.topology.multicast import link_local

log = structlog.get_logger()

_SOL_PACKET, _ADD_MEMBERSHIP, _PROMISCUOUS = 263, 1, 1
QUESTIONS = 3
PAUSE_SECONDS = 0.06
"""After each question. A machine answers within a millisecond or two; three questions outlast a lost one."""


ASK_AGAIN_SECONDS = 5.0
FORGET_SECONDS = 300.0
"""After the runtime has last asked for the NIC: a pod that still waits is tried again far sooner."""


@dataclass(frozen=True)
class RefusedNic:
    """A NIC that was refused, because a machine outside has an address of it."""

    entry: Entry
    conflict: NodeConflict
    since: float
    """When the runtime last asked for it, on the monotonic clock."""


class Underlays:
    """The physical networks of this node, and machines there that have addresses of NICs."""

    def __init__(self, here: str, vswitch: VSwitch) -> None:
        """``here``: the node's network namespace, as a path."""
        self._here = here
        self._vswitch = vswitch
        self._waiting: dict[str, RefusedNic] = {}
        self._changed: Callable[[], None] = lambda: None

    @property
    def conflicts(self) -> dict[str, NodeConflict]:
        """Addresses that machines outside have, by key of the Port that waits for one."""
        return {port: waiting.conflict for port, waiting in self._waiting.items()}

    def on_change(self, call: Callable[[], None]) -> None:
        self._changed = call

    async def run(self) -> None:
        """Ask again who has the addresses that NICs wait for, until cancelled."""
        while True:
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            for port, waiting in tuple(self._waiting.items()):
                late = time.monotonic() - waiting.since > FORGET_SECONDS
                if self._waiting.get(port) is waiting and (late or not await self._holder_outside(waiting.entry)):
                    self._note(port, None)

    async def check(self, entry: Entry) -> None:
        """Raises CniError where the network is not here, or another machine has an address of the NIC.

        The target of a migration is not asked about: its guest has the address, elsewhere.
        """
        underlay = entry.attachment.underlay
        if underlay is None:
            return
        network, port = underlay.provider_network, entry.attachment.port
        if network not in self._vswitch.bridge_mappings:
            raise CniError(
                CniError.TRY_AGAIN,
                f"ProviderNetwork {network} is not plugged in on this node, and port {port} needs it",
                f"see `kubectl get providernetwork {network} -o yaml`; keep these pods off it, or give it a NIC",
            )
        detects = underlay.conflict_detection and not entry.migration
        conflict = await self._holder_outside(entry) if detects else None
        self._note(port, RefusedNic(entry, conflict, time.monotonic()) if conflict else None)
        if conflict is not None:
            raise CniError(CniError.TRY_AGAIN, f"{entry.attachment.subnet}, port {port}: {conflict}")

    async def _holder_outside(self, entry: Entry) -> NodeConflict | None:
        """Return who outside has an address of the NIC; None too where nobody can be asked."""
        underlay = entry.attachment.underlay
        bridge = self._vswitch.bridge_mappings.get(underlay.provider_network) if underlay else None
        if underlay is None or bridge is None:
            return None
        try:
            with await inside(self._here, lambda _: _listener(bridge)) as wire:
                found = await holders(wire, entry.attachment.mac, entry.attachment.bare_addresses, underlay.vlan)
        except OSError as error:  # a bridge that somebody has left down, or that goes away
            log.warning("addresses not asked for", bridge=bridge, error=str(error))
            return None
        network = underlay.provider_network
        segment = f"VLAN {underlay.vlan} of {network}" if underlay.vlan else network
        return next((NodeConflict(address=a, mac_address=mac, segment=segment) for a, mac in found.items()), None)

    def _note(self, port: str, waiting: RefusedNic | None) -> None:
        before = self.conflicts
        if waiting is None:
            self._waiting.pop(port, None)
        else:
            self._waiting[port] = waiting
        if self.conflicts != before:
            log.info("address conflict", port=port, conflict=str(waiting.conflict) if waiting else "gone")
            self._changed()


async def holders(wire: socket.socket, mac: str, addresses: Iterable[str], vlan: int) -> dict[str, str]:
    """Return who says to have these addresses, or the MAC itself: address -> MAC. Raises OSError.

    Who answers from the given MAC for one of the addresses is a guest of ours that still runs. Who has none of them,
    but the link-local address that comes of the MAC, is another machine with that MAC.
    """
    probed, link_locals = set(addresses), {str(link_local(mac))}
    found: dict[str, str] = {}
    from_mac: set[str] = set()
    for _ in range(QUESTIONS):
        for address in probed | link_locals:
            wire.send(question(mac, address, vlan))
        try:
            async with asyncio.timeout(PAUSE_SECONDS):
                while True:
                    said = claim(await asyncio.get_running_loop().sock_recv(wire, 256))
                    if said is not None and said[0] in probed and said[1] != mac:
                        found[said[0]] = said[1]
                    elif said is not None and said[1] == mac:
                        from_mac.add(said[0])
        except TimeoutError:
            continue
    return found | ({mac: mac} if from_mac & link_locals and not from_mac & probed else {})


def _listener(device: str) -> socket.socket:
    """In the namespace of the calling thread. Raises OSError."""
    made = listener(device)
    try:
        made.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, _promiscuous(device))
    except OSError:
        made.close()
        raise
    return made


def _promiscuous(device: str) -> bytes:
    """A packet_mreq (packet(7)): answers come to the NIC's MAC, which is none of this device's."""
    return struct.pack("=iHH8x", socket.if_nametoindex(device), _PROMISCUOUS, 0)

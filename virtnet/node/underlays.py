"""Before a NIC gets an address of a physical network: is that network here, and does nobody outside have the address?

Leases keep virtnet's own NICs apart; a machine outside knows nothing of them. So it is asked on the wire, by ARP probes
(RFC 5227) and neighbour solicitations as for duplicate address detection (RFC 4862), from the bridge's own port.
"""

import asyncio
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from virtnet.node.frames import claim, question
from virtnet.node.journal import Entry
from virtnet.node.netns import inside
from virtnet.node.packets import listener
from virtnet.node.request import CniError
from virtnet.ovn.vswitch import VSwitch

log = structlog.get_logger()

_SOL_PACKET, _ADD_MEMBERSHIP, _PROMISCUOUS = 263, 1, 1
QUESTIONS = 3
PAUSE_SECONDS = 0.06
"""After each question. A machine answers within a millisecond or two; three questions outlast a lost one."""


@dataclass(frozen=True)
class Underlays:
    """The physical networks of this node."""

    here: str
    """The node's network namespace, as a path."""
    vswitch: VSwitch

    async def check(self, entry: Entry) -> None:
        """Raises CniError where the network is not here, or another machine has an address of the NIC.

        The target of a migration is not asked about: its guest has the address, elsewhere.
        """
        underlay = entry.attachment.underlay
        if underlay is None:
            return
        network = underlay.provider_network
        bridge = self.vswitch.bridge_mappings.get(network)
        if bridge is None:
            raise CniError(
                CniError.TRY_AGAIN,
                f"ProviderNetwork {network} is not plugged in on this node, and port {entry.attachment.port} needs it",
                f"see `kubectl get providernetwork {network} -o yaml`; keep these pods off it, or give it a NIC",
            )
        if not underlay.conflict_detection or entry.migration:
            return
        try:
            wire = await inside(self.here, lambda _: _listener(bridge))
        except OSError as error:  # a bridge that somebody else has made, and left down
            log.warning("addresses not asked for", bridge=bridge, error=str(error))
            return
        with wire:
            found = await holders(wire, entry.attachment.mac, entry.attachment.bare_addresses, underlay.vlan)
        if found:
            address, mac = next(iter(found.items()))
            where = f"VLAN {underlay.vlan} of {network}" if underlay.vlan else network
            raise CniError(
                CniError.TRY_AGAIN,
                f"{entry.attachment.subnet}: {address} of port {entry.attachment.port} is used by a machine outside, "
                f"{mac} on {where}",
                "exclude the address in the Subnet and give the VM another, or take it from that machine",
            )


async def holders(wire: socket.socket, mac: str, addresses: Iterable[str], vlan: int) -> dict[str, str]:
    """Who says to have these addresses: address -> MAC, without the given one. Raises OSError."""
    asked = set(addresses)
    found: dict[str, str] = {}
    for _ in range(QUESTIONS):
        for address in asked:
            wire.send(question(mac, address, vlan))
        try:
            async with asyncio.timeout(PAUSE_SECONDS):
                while True:
                    said = claim(await asyncio.get_running_loop().sock_recv(wire, 256))
                    if said is not None and said[0] in asked and said[1] != mac:
                        found[said[0]] = said[1]
        except TimeoutError:
            continue
    return found


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

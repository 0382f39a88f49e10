"""What OVN sends out of this node into physical networks, and must not. It is dropped in their bridges.

- Neighbour discovery of the Vpcs' routers. A router of OVN's is on every node. What it would say outside, each node
  would: where it is, and that it is a gateway, which machines out there would believe. OVN lets neighbour discovery
  pass all ACLs. Outside, routers speak under the chassis' MAC (ovn-chassis-mac-mappings). Guests are answered by their
  own node, before.
- Strays: frames that another node has sent for a guest of this one through a tunnel, as OVN does while the guest
  migrates, and that come when it is not here any more. OVN sends them on to the physical network. Switches there, and
  the bridge itself, would learn that their senders are on this node, and keep answers from them; and the guest has them
  already, from its own node. What this node's NICs and routers send to the guest is no stray.
"""

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import structlog

from virtnet.node.flows import Flow
from virtnet.node.frames import NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, ROUTER_ADVERTISEMENT
from virtnet.node.journal import Journal
from virtnet.node.openflow import life, put, socket_of
from virtnet.ovn.mappings import MACS, entries
from virtnet.ovn.vswitch import VSwitch
from virtnet.topology.names import localnet_name

log = structlog.get_logger()

REPEAT_SECONDS = 10.0
"""How long a bridge may be without its flows that has lost them with its Open vSwitch."""

STRAY_SECONDS = 10.0
"""How long after a NIC has gone other nodes may send to it here."""

KEPT_IN = (ROUTER_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT)
COOKIE = int.from_bytes(b"virtnet6")
SILENT, OWN, STRAY = 1000, 900, 800
"""Priorities."""


class Guest(NamedTuple):
    """A NIC on a physical network, as long as other nodes may send to it here."""

    network: str
    mac: str
    patch: str
    """The port of the network's bridge by which OVN sends what is for it elsewhere."""


class Bridge(NamedTuple):
    """Of a physical network, as long as its switch keeps what it was told."""

    name: str
    life: int
    """Another one after its Open vSwitch was restarted, or itself made again: nothing is left of its flows."""


class Egress:
    """Of all physical networks that this node reaches. Used from one event loop."""

    def __init__(self, vswitch: VSwitch, journal: Journal, sockets: Path, repeat: float = REPEAT_SECONDS) -> None:
        """``sockets``: where the switch has its bridges' management sockets."""
        self._vswitch = vswitch
        self._journal = journal
        self._sockets = sockets
        self._repeat = repeat
        self._changed = asyncio.Event()
        self._installed: dict[Bridge, frozenset[Flow]] = {}
        """What bridges were told last."""
        self._problems: dict[str, str] = {}
        """Of each bridge, as last logged."""
        self._until: dict[Guest, float] = {}
        """On the monotonic clock."""
        vswitch.on_change(self._changed.set)  # NICs that come and go are seen there, too

    async def run(self) -> None:
        again = 0.0
        while True:
            wanted, now = self._wanted(), time.monotonic()
            if whole := now >= again:
                again = now + self._repeat
            await self._follow(wanted, whole=whole)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(again - time.monotonic()):
                    while self._wanted() == wanted:
                        self._changed.clear()
                        await self._changed.wait()

    def _wanted(self) -> dict[Bridge, frozenset[Flow]]:
        """Networks without a MAC for their routers are not ours."""
        macs = entries(self._vswitch.external_ids.get(MACS, ""))
        here, now = self._here(), time.monotonic()
        self._until |= dict.fromkeys(here, now + STRAY_SECONDS)
        self._until = {guest: until for guest, until in self._until.items() if until > now}
        return {
            Bridge(name, life(self._socket(name))): frozenset(self._flows(network, macs[network], here))
            for network, name in self._vswitch.bridge_mappings.items()
            if network in macs
        }

    def _socket(self, bridge: str) -> Path:
        return socket_of(self._sockets, bridge)

    def _here(self) -> set[Guest]:
        """All NICs of physical networks on this node."""
        return {
            Guest(
                entry.attachment.underlay.provider_network,
                entry.attachment.mac,
                self._vswitch.patch(localnet_name(entry.attachment.subnet)),
            )
            for entry in self._journal
            if entry.attachment.underlay is not None
        }

    def _flows(self, network: str, router: str, here: Collection[Guest]) -> Iterator[Flow]:
        for kind in KEPT_IN:
            yield Flow(SILENT, source=router, icmpv6=kind)
        for mac in {router, *(guest.mac for guest in here if guest.network == network)}:
            yield Flow(OWN, source=mac, drop=False)
        for guest in self._until:
            port = self._vswitch.ofport(guest.patch)
            if guest.network == network and port:
                yield Flow(STRAY, in_port=port, destination=guest.mac)

    async def _follow(self, wanted: dict[Bridge, frozenset[Flow]], *, whole: bool) -> None:
        self._installed = {bridge: flows for bridge, flows in self._installed.items() if bridge in wanted}
        for bridge, flows in wanted.items():
            if whole or self._installed.get(bridge) != flows:
                await self._tell(bridge, flows, whole=whole)

    async def _tell(self, bridge: Bridge, flows: frozenset[Flow], *, whole: bool) -> None:
        """What has changed, or all: with each NIC that comes, the flows of all others would be sent again."""
        problem, installed = "", self._installed.pop(bridge, None)
        new = flows if whole or installed is None else flows - installed
        gone = None if installed is None else installed - flows
        try:
            await put(self._socket(bridge.name), COOKIE, new, gone)
            self._installed[bridge] = flows
        except (OSError, TimeoutError, EOFError, ValueError) as error:  # the last: no MAC, in an entry of others
            problem = str(error) or type(error).__name__
        if problem and problem != self._problems.get(bridge.name):
            log.warning("strays and routers may be heard outside", bridge=bridge.name, error=problem)
        self._problems[bridge.name] = problem

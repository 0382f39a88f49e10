"""Keeps neighbour discovery of the Vpcs' routers out of physical networks.

A router of OVN's is on every node. What it would say outside, each node would: where it is, and that it is a gateway,
which machines out there would believe. OVN lets neighbour discovery pass all ACLs, so it is dropped where it leaves, in
the bridges of the physical networks. There, routers speak under the chassis' MAC (ovn-chassis-mac-mappings). Guests are
answered by their own node, before.
"""

import asyncio
from pathlib import Path

import structlog

from virtnet.node.frames import NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, ROUTER_ADVERTISEMENT
from virtnet.node.openflow import drop_icmpv6
from virtnet.ovn.mappings import MACS, entries
from virtnet.ovn.vswitch import VSwitch

log = structlog.get_logger()

REPEAT_SECONDS = 10.0
"""How long a bridge may be without its flows that has lost them with its Open vSwitch."""

KEPT_IN = (ROUTER_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT)
COOKIE = int.from_bytes(b"virtnet6")


class Quiet:
    """Of all physical networks that this node reaches. Used from one event loop."""

    def __init__(self, vswitch: VSwitch, sockets: Path, repeat: float = REPEAT_SECONDS) -> None:
        """``sockets``: where the switch has its bridges' management sockets."""
        self._vswitch = vswitch
        self._sockets = sockets
        self._repeat = repeat
        self._changed = asyncio.Event()
        self._problems: dict[str, str] = {}
        """Of each bridge, as last told."""
        vswitch.on_change(self._changed.set)

    async def run(self) -> None:
        while True:
            told = self._wanted()
            await self._tell(told)
            try:
                async with asyncio.timeout(self._repeat):
                    while self._wanted() == told:
                        self._changed.clear()
                        await self._changed.wait()
            except TimeoutError:
                continue

    def _wanted(self) -> dict[str, str]:
        """The MAC that is to be silent on each bridge. Networks without one of their own are not ours."""
        macs = entries(self._vswitch.external_ids.get(MACS, ""))
        return {bridge: macs[network] for network, bridge in self._vswitch.bridge_mappings.items() if network in macs}

    async def _tell(self, wanted: dict[str, str]) -> None:
        for bridge, mac in wanted.items():
            problem = ""
            try:
                await drop_icmpv6(self._sockets / f"{bridge}.mgmt", COOKIE, mac, KEPT_IN)
            except (OSError, TimeoutError, EOFError, ValueError) as error:  # the last: no MAC, in an entry of others
                problem = str(error) or type(error).__name__
            if problem and problem != self._problems.get(bridge):
                log.warning("routers may be heard outside", bridge=bridge, error=problem)
            self._problems[bridge] = problem

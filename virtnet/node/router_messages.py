"""Router advertisements and MLD queries of guests, and ICMPv6 within VLANs that a NIC has not been given, of which OVN
lets neighbour discovery and MLD pass before all ACLs: its bridge drops them.

What a NIC may send all the same is left out. The flows are put there before OVN is told that the node has a NIC's port,
and outlive this process. ovn-controller takes them away with all others when it starts, and a restart of Open vSwitch
does: the bridge tells so at once, and has them back before OVN's own, which take longer.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import structlog

from virtnet.api import VlanRange
from virtnet.node.flow_losses import losses
from virtnet.node.flows import Flow, Installed, Match
from virtnet.node.frames import ICMPV6, ROUTER_ADVERTISEMENT
from virtnet.node.journal import Entry, Journal
from virtnet.node.nics import Drivers
from virtnet.node.openflow import put, remove, under
from virtnet.node.request import CniError
from virtnet.node.vlan_masks import all_but
from virtnet.ovn.vswitch import VSwitch

log = structlog.get_logger()

COOKIE = int.from_bytes(b"virtnetr")
PRIORITY = 300
"""Above OVN's flows of a port, by which what comes in from it gets into its pipeline."""

MLD_QUERY = 130
AGAIN_SECONDS = 0.05
"""Until a bridge that does not answer is asked again: it is without flows then."""


@dataclass(frozen=True)
class Permission:
    """What a NIC may send that others may not."""

    router: bool = False
    vlans: tuple[VlanRange, ...] = ()
    """In which it may have ICMPv6."""


def flows(port: int, permission: Permission = Permission()) -> Iterator[Flow]:
    """What is dropped of what comes in by an OpenFlow port. Of a fragment no type is seen: see the ACL of the same."""
    if not permission.router:
        for kind in (ROUTER_ADVERTISEMENT, MLD_QUERY):
            yield Flow(PRIORITY, in_port=port, icmpv6=kind)
        yield Flow(PRIORITY, in_port=port, fragment_hop_limit=255)
        yield Flow(PRIORITY, in_port=port, protocol=ICMPV6, fragment_hop_limit=1)
    for vlans in all_but(one.range for one in permission.vlans):
        yield Flow(PRIORITY, in_port=port, protocol=ICMPV6, vlans=vlans)


@lru_cache(maxsize=4096)
def _drops(port: int, permission: Permission) -> Mapping[Match, Flow]:
    """The flows of a port, which are looked at again with each NIC that comes."""
    return {flow.match: flow for flow in flows(port, permission)}


class RouterMessages:
    """Of all NICs of this node. Used from one event loop."""

    def __init__(self, vswitch: VSwitch, journal: Journal, drivers: Drivers, bridge: Path | None) -> None:
        """``bridge``: the management socket of OVN's bridge; None where it cannot be reached."""
        self._vswitch = vswitch
        self._journal = journal
        self._drivers = drivers
        self.bridge = bridge
        self._permissions: dict[str, Permission] | None = None
        """By the Port that has one; None until the controller's word is known."""
        self._followed: dict[int, Permission | None] | None = None
        """By OpenFlow port, of all that the bridge was told of. None: it may have lost some."""
        self._there: dict[Match, Installed] | None = None
        """The flows that the bridge has. None: it has to be asked."""
        self._changed = asyncio.Event()
        self._working = asyncio.Lock()
        vswitch.on_change(self._changed.set)

    def permit(self, routers: Iterable[str], trunks: Mapping[str, tuple[VlanRange, ...]]) -> None:
        """Let these Ports send what routers do, and have ICMPv6 in these VLANs, and no other."""
        both = {*routers}
        self._permissions = {port: Permission(port in both, trunks.get(port, ())) for port in both | trunks.keys()}
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        if self.bridge is None:
            log.warning("router advertisements of guests are not kept in: the switch is on another machine")
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(self.bridge), name="flows that are lost")
            group.create_task(self._act(), name="router messages")

    async def cover(self, entry: Entry) -> None:
        """Before OVN lets in what a NIC's guest sends. Raises CniError."""
        try:
            await self._follow()
        except (OSError, TimeoutError, EOFError) as error:
            problem = f"router advertisements from port {entry.attachment.port} cannot be kept in: {error}"
            raise CniError(CniError.TRY_AGAIN, problem, "is ovs-vswitchd running on this node?") from error

    async def _listen(self, bridge: Path) -> None:
        while True:
            with contextlib.suppress(OSError, TimeoutError, EOFError):
                async for _ in losses(bridge):
                    self._forget()
                    self._changed.set()
            self._forget()
            await asyncio.sleep(AGAIN_SECONDS)

    async def _act(self) -> None:
        problem = ""
        while True:
            self._changed.clear()
            try:
                await self._follow()
                problem = ""
            except (OSError, TimeoutError, EOFError) as error:
                if problem != (problem := str(error) or type(error).__name__):
                    log.warning("router advertisements of guests may pass", error=problem)
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            await self._changed.wait()

    async def _follow(self) -> None:
        """Tell the bridge what it has not been told. Raises OSError, TimeoutError and EOFError."""
        if self.bridge is None:
            return
        async with self._working:
            wanted = self._wanted()
            if wanted == self._followed:
                return
            self._followed = wanted
            try:
                await self._change(self.bridge, wanted)
            except BaseException:
                self._forget()
                raise

    def _forget(self) -> None:
        self._followed = self._there = None

    async def _change(self, bridge: Path, wanted: Mapping[int, Permission | None]) -> None:
        """What is to be dropped comes before what is to pass, so that nothing passes in between."""
        there = self._there
        if there is None:
            there = self._there = {}  # what is lost from here on has this forgotten, in any pause
            there.update((flow.match, flow) for flow in await under(bridge, COOKIE))
        kept = set()
        if self._permissions is None:
            kept = {flow.in_port for flow in there.values()} - {port for port, one in wanted.items() if one is not None}
        each: dict[Match, Flow] = {}
        for port, permission in wanted.items():
            if port not in kept:
                each |= _drops(port, permission or Permission())
        new = {match: each[match] for match in each.keys() - there.keys()}
        over = {match: there[match] for match in there.keys() - each.keys() if there[match].in_port not in kept}
        if new:
            await put(bridge, COOKIE, [*new.values()], ())
            there |= {match: flow.installed for match, flow in new.items()}
        if over:
            await remove(bridge, COOKIE, [*over.values()])
            for match in over:
                del there[match]

    def _wanted(self) -> dict[int, Permission | None]:
        """What OpenFlow ports may send.

        Before the controller's word is known, what is there of NICs that are attached stays: None. Where there is
        nothing, all is dropped.
        """
        found: dict[int, Permission | None] = {}
        for entry in self._journal:
            interface = self._drivers.of(entry).interface(entry)
            port = self._vswitch.ofport(interface.name) if interface is not None else 0
            if not port:
                continue
            if self._permissions is None:
                found[port] = None if entry.state == "Attached" else Permission()
            else:
                found[port] = self._permissions.get(entry.attachment.port, Permission())
        return found

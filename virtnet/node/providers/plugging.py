"""The steps of plugging a NIC in, and their undoing. Each may be repeated, and the process killed before any of them.

The node's addresses are on NIC and bridge both before the switch gets the NIC, and routes are added on the one before
they are deleted on the other, so there is no moment at which the node has no address or no route: what is lost is what
arrives between two messages to the kernel.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from virtnet.node import links, nft
from virtnet.node.netns import inside
from virtnet.node.providers import nic as nics
from virtnet.node.providers.nic import Nic, Refusal
from virtnet.node.providers.records import Record, Records
from virtnet.node.providers.rtnetlink import ADDRESS, NEIGHBOUR, Entry, Rtnetlink, merged
from virtnet.ovn.errors import OvnError
from virtnet.ovn.provider_bridges import BridgeFailed, ProviderBridges

log = structlog.get_logger()

T = TypeVar("T")

LINK_SECONDS = 5.0
GATEWAY_SECONDS = 1.0
ASK_EVERY = 0.2

Step = Callable[[Record], Awaitable[Record]]


@dataclass
class Plugging:
    """Used from one event loop, for one ProviderNetwork at a time."""

    here: str
    """The node's network namespace, as a path."""
    bridges: ProviderBridges
    records: Records
    _deaf: dict[str, socket.socket] = field(default_factory=dict)
    """Sockets that keep NICs from being heard twice, by NIC."""

    @property
    def plug_steps(self) -> tuple[Step, ...]:
        """After the record was written. The NIC is the switch's from the third on, and the bridge's from the fourth."""
        return (self._make_bridge, self._share_addresses, self._give_nic, self._move, self._verify, self._map)

    @property
    def unplug_steps(self) -> tuple[Step, ...]:
        """After the record says so. They also undo what was plugged in half."""
        return (self._unmap, self._share_back, self._take_nic, self._move_back, self._remove_bridge)

    async def find(self, name: str) -> Nic | None:
        return await self._inside(lambda netlink: Nic.find(netlink, name))

    async def settings(self, nic: Nic) -> nics.Settings:
        return await self._inside(lambda _: nics.settings_of(nic))

    async def read(self, name: str) -> list[Entry]:
        """What the node has on an interface; nothing where there is none."""
        return await self._inside(lambda _: _read(name))

    async def plug(self, record: Record) -> Record:
        """All steps; all of them are undone when one fails. Raises Refusal, OvnError, OSError."""
        try:
            return await self.go_on(record)
        except Exception:
            try:
                await self.unplug(record)
            except (OvnError, OSError):  # the next look tries again: the record is there
                log.exception("not taken back yet", provider_network=record.provider_network, nic=record.nic)
            raise

    async def go_on(self, record: Record) -> Record:
        """Plug in what is missing of it; nothing is undone when that fails. Raises Refusal, OvnError, OSError."""
        record = self.records.write(record)
        for step in self.plug_steps:
            record = await step(record)
        return self.records.write(record.model_copy(update={"state": "Plugged"}))

    async def unplug(self, record: Record) -> None:
        """Everything as it was before. Raises OvnError, OSError; it may be repeated then."""
        if record.finished:
            now = await self.read(record.bridge)
            record = record.model_copy(update={"configuration": texts(now)}) if now else record
        record = self.records.write(record.model_copy(update={"state": "Unplugging"}))
        for step in self.unplug_steps:
            record = await step(record)
        self.records.remove(record.provider_network)

    async def answers(self, gateways: Sequence[str], interface: str) -> str:
        """The first gateway that does not answer ARP or ND on an interface within a second; empty when all do."""
        return await self._inside(lambda _: _silent(gateways, interface))

    async def fall_back(self, record: Record) -> None:
        """Give the NIC what a bridge had that is gone: the node must be reached without its switch too."""
        self._hear(record.nic)
        await self._inside(lambda netlink: _put(netlink, record.entries, record.nic))

    async def _make_bridge(self, record: Record) -> Record:
        await self.bridges.make(record.bridge, record.provider_network, record.mac, record.mtu)
        index = (await self._link(record.bridge)).index
        userspace = self.bridges.userspace

        def bring_up(netlink: IPRoute) -> None:
            nics.set_address_generation(netlink, index, 1)
            links.set_up(netlink, index)
            if userspace:
                links.leave_checksums_to_software(record.bridge)

        await self._inside(bring_up)
        return record.model_copy(update={"bridge_index": index})

    async def _share_addresses(self, record: Record) -> Record:
        addresses = [entry for entry in record.entries if entry.kind == ADDRESS]
        await self._inside(lambda netlink: _put(netlink, addresses, record.bridge))
        return record

    async def _give_nic(self, record: Record) -> Record:
        userspace = self.bridges.userspace

        def prepare(netlink: IPRoute) -> None:
            links.set_up(netlink, record.nic_index)
            nics.prepare(netlink, record.nic, record.nic_index, userspace=userspace)

        await self._inside(prepare)
        await self.bridges.plug(record.bridge, record.nic)
        return record

    async def _move(self, record: Record) -> Record:
        """What the node has by now, with its neighbours: the record was read some milliseconds ago."""
        await self._inside(lambda netlink: _move(netlink, record.entries, record.nic, record.bridge))
        if self.bridges.userspace and record.nic not in self._deaf:
            self._deaf[record.nic] = await self._inside(lambda _: nft.deaf(record.nic))
        return record

    async def _verify(self, record: Record) -> Record:
        gateways = default_gateways(record.entries)
        silent = await self.answers(gateways, record.bridge)
        if silent:
            raise Refusal(
                "GatewayLost",
                f"gateway {silent} does not answer through bridge {record.bridge} any more, so {record.nic} has been "
                "taken out again; look at the switch port's security settings",
            )
        return record

    async def _map(self, record: Record) -> Record:
        await self.bridges.map(record.provider_network, record.bridge)
        return record

    async def _unmap(self, record: Record) -> Record:
        if self.bridges.mapped(record.provider_network) == record.bridge:
            await self.bridges.unmap(record.provider_network)
        return record

    async def _share_back(self, record: Record) -> Record:
        """From here on the NIC is heard by the node itself again, and has its addresses."""
        self._hear(record.nic)
        nic = await self._renamed(record)
        addresses = [entry for entry in record.entries if entry.kind == ADDRESS]
        if nic is not None:
            await self._inside(lambda netlink: _put(netlink, addresses, nic.name))
        return record

    async def _take_nic(self, record: Record) -> Record:
        if self.bridges.owner(record.bridge) == record.provider_network:
            await self.bridges.unplug(record.bridge, record.nic)
        return record

    async def _move_back(self, record: Record) -> Record:
        nic = await self._renamed(record)
        if nic is None:
            log.warning("the NIC is gone, and what the node had on it", nic=record.nic)
            return record

        def work(netlink: IPRoute) -> None:
            _move(netlink, record.entries, record.bridge, nic.name)
            nics.restore(netlink, nic.name, nic.index, record.settings)

        await self._inside(work)
        return record

    async def _remove_bridge(self, record: Record) -> Record:
        if self.bridges.owner(record.bridge) == record.provider_network:
            await self.bridges.remove(record.bridge)
        return record

    async def _link(self, bridge: str) -> Nic:
        """A bridge's own link, which the switch makes some time after its row."""
        end = time.monotonic() + LINK_SECONDS
        while (found := await self.find(bridge)) is None:
            if time.monotonic() > end:
                raise BridgeFailed(f"Open vSwitch has made no link {bridge} in {LINK_SECONDS:g} s; does it run?")
            await asyncio.sleep(0.01)
        return found

    async def _renamed(self, record: Record) -> Nic | None:
        """The NIC of a record, also when it has another name by now."""

        def work(netlink: IPRoute) -> Nic | None:
            found = Nic.find(netlink, record.nic)
            if found is None:
                with contextlib.suppress(OSError):
                    found = Nic.find(netlink, socket.if_indextoname(record.nic_index))
            return found if found and found.mac == record.mac else None

        return await self._inside(work)

    async def _inside(self, work: Callable[[IPRoute], T]) -> T:
        try:
            return await inside(self.here, work)
        except NetlinkError as error:
            raise OSError(error.code, str(error)) from error

    def _hear(self, nic: str) -> None:
        if kept := self._deaf.pop(nic, None):
            kept.close()

    async def listen_once(self, record: Record) -> None:
        """Keep the NIC from being heard twice, where an earlier process did."""
        if self.bridges.userspace and record.nic not in self._deaf:
            with contextlib.suppress(OSError):
                self._deaf[record.nic] = await self._inside(lambda _: nft.deaf(record.nic))

    async def close(self) -> None:
        """NICs are heard twice again, which is no harm; closing waits for the kernel, so it is not done in the loop."""
        for kept in self._deaf.values():
            await asyncio.to_thread(kept.close)


def texts(entries: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(entry.text for entry in entries)


def default_gateways(entries: Sequence[Entry]) -> list[str]:
    return sorted({gateway for entry in entries for gateway in entry.default_gateways})


def _read(name: str) -> list[Entry]:
    """Without the neighbours that the kernel has found by itself."""
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        return []
    with Rtnetlink() as kernel:
        return [entry for entry in kernel.read(index, name) if entry.kind != NEIGHBOUR or entry.static]


def _put(netlink: IPRoute, entries: Sequence[Entry], name: str) -> None:
    found = Nic.find(netlink, name)
    if found is None:
        return
    if not found.up:
        links.set_up(netlink, found.index)
    with Rtnetlink() as kernel:
        for entry in entries:
            kernel.add(entry, found.index)


def _move(netlink: IPRoute, entries: Sequence[Entry], source: str, target: str) -> None:
    """Put entries, and what is on the source, onto the target; then leave nothing on the source."""
    old, new = Nic.find(netlink, source), Nic.find(netlink, target)
    if new is None:
        raise OSError(f"there is no link {target}")
    with Rtnetlink() as kernel:
        there = kernel.read(old.index, source) if old else []
        for entry in merged(entries, there):
            kernel.add(entry, new.index)
        if old is not None:
            for entry in reversed(there):
                kernel.delete(entry, old.index)


def _silent(gateways: Sequence[str], interface: str) -> str:
    for gateway in gateways:
        if not _answers(gateway, interface):
            return gateway
    return ""


def _answers(gateway: str, interface: str) -> bool:
    index = socket.if_nametoindex(interface)
    with Rtnetlink() as kernel:
        end = time.monotonic() + GATEWAY_SECONDS
        while time.monotonic() < end:
            kernel.ask(gateway, index)
            again = time.monotonic() + ASK_EVERY
            while time.monotonic() < min(again, end):
                if kernel.answered(gateway, index):
                    return True
                time.sleep(0.005)
    return False

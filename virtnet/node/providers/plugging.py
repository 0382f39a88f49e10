"""The steps of plugging a NIC in, and their undoing. Each may be repeated, and the process killed before any of them.

The node's addresses are on NIC and bridge both before the switch gets the NIC, and routes are added on the one before
they are deleted on the other, so there is no moment at which the node has no address or no route: what is lost is what
arrives between two messages to the kernel.
"""

import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog
from pyroute2 import IPRoute

from virtnet.node import links, openflow
from virtnet.node.netns import inside
from virtnet.node.providers import configuration, sysctls
from virtnet.node.providers import nic as nics
from virtnet.node.providers.entries import ADDRESS, Entry, default_gateways, merged, texts
from virtnet.node.providers.hearing import Hearing
from virtnet.node.providers.nic import Nic, Refusal
from virtnet.node.providers.records import Record, Records, boot_id
from virtnet.node.providers.rescue import lost
from virtnet.ovn.errors import OvnError
from virtnet.ovn.provider_bridges import BridgeFailed, ProviderBridges

log = structlog.get_logger()

T = TypeVar("T")

Step = Callable[[Record], Awaitable[Record]]


@dataclass
class Plugging:
    """Used from one event loop, for one ProviderNetwork at a time."""

    bridges: ProviderBridges
    records: Records
    hearing: Hearing
    sockets: Path | None
    """Where Open vSwitch has its sockets; None where they cannot be reached."""

    @property
    def plug_steps(self) -> tuple[Step, ...]:
        """After the record was written. The NIC is the switch's from the third on, and the bridge's from the fourth."""
        return (self._make_bridge, self._share_addresses, self._give_nic, self._move, self._verify, self._map)

    @property
    def unplug_steps(self) -> tuple[Step, ...]:
        """After the record says so. They also undo what was plugged in half.

        The node speaks through the NIC again before the switch loses it: in between, either way works.
        """
        return (self._unmap, self._share_back, self._move_back, self._take_nic, self._remove_bridge)

    async def find(self, name: str) -> Nic | None:
        return await self._inside(lambda netlink: Nic.find(netlink, name))

    async def settings(self, nic: Nic) -> nics.Settings:
        return await self._inside(lambda _: nics.settings_of(nic))

    async def read(self, name: str) -> list[Entry]:
        """What the node has on an interface; nothing where there is none."""
        return await self._inside(lambda _: configuration.read(name))

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
        record = await self.records.write(record)
        for step in self.plug_steps:
            before, record = record, await step(record)
            if record != before:
                await self.records.write(record)
        return await self.records.write(record.model_copy(update={"state": "Plugged"}))

    async def unplug(self, record: Record) -> None:
        """Everything as it was before. Raises OvnError, OSError; it may be repeated then."""
        if record.finished or record.boot != boot_id():
            now = merged(await self.read(record.nic), await self.read(record.bridge))
            if not await lost(record, self.hearing.here):
                record = record.model_copy(update={"configuration": texts(now), "boot": boot_id()})
        record = await self.records.write(record.model_copy(update={"state": "Unplugging"}))
        for step in self.unplug_steps:
            record = await step(record)
        await self.records.remove(record.provider_network)

    async def answers(self, gateways: Sequence[str], interface: str) -> str:
        """The first gateway that does not answer ARP or ND on an interface within a second; empty when all do."""
        return await self._inside(lambda _: configuration.first_silent(gateways, interface))

    async def driven(self, bridge: str) -> bool:
        """Whether a bridge's switch is at work, which its link does not show where the kernel forwards."""
        return self.sockets is None or await openflow.answers(openflow.socket_of(self.sockets, bridge))

    async def _make_bridge(self, record: Record) -> Record:
        await self.bridges.make(record.bridge, record.provider_network, record.mac, record.mtu)
        link = await self.find(record.bridge)
        if link is None:
            raise BridgeFailed(f"Open vSwitch has made no link {record.bridge}; is ovs-vswitchd running?")
        index = link.index
        userspace = self.bridges.userspace

        def bring_up(netlink: IPRoute) -> None:
            sysctls.copy(record.nic, record.bridge)
            nics.set_address_generation(netlink, index, 1)
            links.set_up(netlink, index)
            if userspace:
                links.leave_checksums_to_software(record.bridge)

        await self._inside(bring_up)
        return record.model_copy(update={"bridge_index": index})

    async def _share_addresses(self, record: Record) -> Record:
        addresses = [entry for entry in record.entries if entry.kind == ADDRESS]
        await self._inside(lambda netlink: configuration.put(netlink, addresses, record.bridge))
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
        await self._inside(lambda netlink: configuration.move(netlink, record.entries, record.nic, record.bridge))
        await self.hear_once(record)
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
        await self.hearing.open(record.nic)
        nic = await self._renamed(record)
        addresses = [entry for entry in record.entries if entry.kind == ADDRESS]
        if nic is not None:
            await self._inside(lambda netlink: configuration.put(netlink, addresses, nic.name))
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
            configuration.move(netlink, record.entries, record.bridge, nic.name)
            nics.restore(netlink, nic.name, nic.index, record.settings)

        await self._inside(work)
        return record

    async def _remove_bridge(self, record: Record) -> Record:
        if self.bridges.owner(record.bridge) == record.provider_network:
            await self.bridges.remove(record.bridge)
        return record

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
        return await inside(self.hearing.here, work)

    async def hear_once(self, record: Record) -> None:
        """Also where an earlier process did so: it ended with that one.

        What somebody has put upon the NIC since, say a VLAN interface, is to hear it all the same.
        """
        nic = await self.find(record.nic)
        if nic is not None and nic.uppers:
            await self.hearing.open(record.nic)
        elif self.bridges.userspace:
            await self.hearing.shut(record.nic)

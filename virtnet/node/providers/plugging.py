"""The steps of plugging a NIC in, and their undoing. Each may be repeated, and the process killed before any of them.

The node's addresses are on NIC and bridge both before the switch gets the NIC, and routes are added on the one before
they are deleted on the other, so there is no moment at which the node has no address or no route: what is lost is what
arrives between two messages to the kernel.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog
from pyroute2 import IPRoute

from virtnet.node import kernel_datapath, links, openflow, sysctl
from virtnet.node.links import NO_LINK_LOCAL, set_address_generation
from virtnet.node.netns import inside
from virtnet.node.providers import configuration
from virtnet.node.providers import nic as nics
from virtnet.node.providers.fallback import lost, nic_of
from virtnet.node.providers.ingress import IngressFilters
from virtnet.node.providers.nic import PhysicalNic, Refusal
from virtnet.node.providers.objects import ADDRESS, NetlinkObject, default_gateways, merged, texts
from virtnet.node.providers.records import PluggingRecord, Records, boot_id
from virtnet.ovn.errors import OvnError
from virtnet.ovn.provider_bridges import BridgeFailed, ProviderBridges

log = structlog.get_logger()

T = TypeVar("T")

PluggingStep = Callable[[PluggingRecord], Awaitable[PluggingRecord]]


@dataclass
class Plugging:
    """Used from one event loop, for one ProviderNetwork at a time."""

    bridges: ProviderBridges
    records: Records
    ingress: IngressFilters
    sockets: Path | None
    """Where Open vSwitch has its sockets; None where they cannot be reached."""

    @property
    def plug_steps(self) -> tuple[PluggingStep, ...]:
        """After the record was written. The NIC is the switch's from the third on, and the bridge's from the fourth."""
        return (self._make_bridge, self._share_addresses, self._give_nic, self._move, self._verify, self._map)

    @property
    def unplug_steps(self) -> tuple[PluggingStep, ...]:
        """After the record says so. They also undo what was plugged in half.

        The node speaks through the NIC again before the switch loses it: in between, either way works.
        """
        return (self._unmap, self._share_back, self._move_back, self._take_nic, self._remove_bridge)

    async def find(self, name: str) -> PhysicalNic | None:
        return await self._inside(lambda netlink: PhysicalNic.find(netlink, name))

    async def new_name(self, record: PluggingRecord) -> str:
        """The name by which the NIC of a record goes now; empty where it has its own still, or is gone."""
        if await self.find(record.nic) is not None:
            return ""
        nic = await self._nic_of(record)
        return nic.name if nic else ""

    async def settings(self, nic: PhysicalNic) -> nics.Settings:
        return await self._inside(lambda _: nics.settings_of(nic))

    async def read(self, name: str) -> list[NetlinkObject]:
        """Return what the node has on an interface; nothing where there is none."""
        return await self._inside(lambda _: configuration.read(name))

    async def plug(self, record: PluggingRecord) -> PluggingRecord:
        """Do all steps; undo all of them when one fails. Raises Refusal, OvnError, OSError."""
        try:
            return await self.go_on(record)
        except Exception:
            try:
                await self.unplug(record)
            except (OvnError, OSError):  # the next look tries again: the record is there
                log.exception("not taken back yet", provider_network=record.provider_network, nic=record.nic)
            raise

    async def go_on(self, record: PluggingRecord) -> PluggingRecord:
        """Do the steps that are missing; nothing is undone when that fails. Raises Refusal, OvnError, OSError."""
        record = await self.records.write(record)
        for step in self.plug_steps:
            before, record = record, await step(record)
            if record != before:
                await self.records.write(record)
        return await self.records.write(record.model_copy(update={"state": "Plugged"}))

    async def unplug(self, record: PluggingRecord) -> None:
        """Restore everything as it was before. Raises OvnError, OSError; it may be repeated then."""
        if record.finished or record.boot != boot_id():
            now = merged(await self.read(record.nic), await self.read(record.bridge))
            if not await lost(record, self.ingress.here):
                record = record.model_copy(update={"configuration": texts(now), "boot": boot_id()})
        record = await self.records.write(record.model_copy(update={"state": "Unplugging"}))
        for step in self.unplug_steps:
            record = await step(record)
        await self.records.remove(record.provider_network)

    async def answers(self, gateways: Sequence[str], interface: str) -> str:
        """Return the first gateway that does not answer on an interface within a second; empty when all do."""
        return await self._inside(lambda _: configuration.first_silent(gateways, interface))

    async def driven(self, bridge: str) -> bool:
        """Whether a bridge's switch is at work, which its link does not show where the kernel forwards."""
        return self.sockets is None or await openflow.answers(openflow.socket_of(self.sockets, bridge))

    async def _make_bridge(self, record: PluggingRecord) -> PluggingRecord:
        await self.bridges.make(record.bridge, record.provider_network, record.mac, record.mtu)
        link = await self.find(record.bridge)
        if link is None:
            raise BridgeFailed(f"Open vSwitch has made no link {record.bridge}; is ovs-vswitchd running?")
        index = link.index
        userspace = self.bridges.userspace

        def bring_up(netlink: IPRoute) -> None:
            sysctl.copy(record.nic, record.bridge)
            set_address_generation(netlink, index, NO_LINK_LOCAL)
            if record.token and link.token != record.token:
                links.set_token(netlink, index, record.token)
            links.set_up(netlink, index)
            if userspace:
                links.leave_checksums_to_software(record.bridge)

        await self._inside(bring_up)
        return record.model_copy(update={"bridge_index": index})

    async def _share_addresses(self, record: PluggingRecord) -> PluggingRecord:
        addresses = [item for item in record.objects if item.kind == ADDRESS]
        await self._inside(lambda netlink: configuration.put(netlink, addresses, record.bridge))
        return record

    async def _give_nic(self, record: PluggingRecord) -> PluggingRecord:
        userspace = self.bridges.userspace

        def prepare(netlink: IPRoute) -> None:
            links.set_up(netlink, record.nic_index)
            nics.prepare(netlink, record.nic, record.nic_index, userspace=userspace)

        await self._inside(prepare)
        await self.bridges.plug(record.bridge, record.nic)
        return record

    async def _move(self, record: PluggingRecord) -> PluggingRecord:
        """Move what the node has by now, with its neighbours: the record was read some milliseconds ago."""
        await self._inside(lambda netlink: configuration.move(netlink, record.objects, record.nic, record.bridge))
        await self.filter_ingress(record)
        return record

    async def _verify(self, record: PluggingRecord) -> PluggingRecord:
        gateways = default_gateways(record.objects)
        silent = await self.answers(gateways, record.bridge)
        if silent:
            raise Refusal(
                "GatewayLost",
                f"gateway {silent} does not answer through bridge {record.bridge} any more, so {record.nic} has been "
                "taken out again; look at the switch port's security settings",
            )
        return record

    async def _map(self, record: PluggingRecord) -> PluggingRecord:
        await self.bridges.map(record.provider_network, record.bridge)
        return record

    async def _unmap(self, record: PluggingRecord) -> PluggingRecord:
        if self.bridges.mapped(record.provider_network) == record.bridge:
            await self.bridges.unmap(record.provider_network)
        return record

    async def _share_back(self, record: PluggingRecord) -> PluggingRecord:
        """Let the node receive from the NIC itself again, and give that its addresses."""
        await self.ingress.unblock(record.nic)
        nic = await self._nic_of(record)
        addresses = [item for item in record.objects if item.kind == ADDRESS]
        if nic is not None:
            await self._inside(lambda netlink: configuration.put(netlink, addresses, nic.name))
        return record

    async def _take_nic(self, record: PluggingRecord) -> PluggingRecord:
        if self.bridges.owner(record.bridge) == record.provider_network:
            await self.bridges.unplug(record.bridge, record.nic)
        nic = await self._nic_of(record)
        if nic is not None and nic.master == kernel_datapath.LINK and not self.bridges.port_of(nic.name):
            await self._inside(lambda _: kernel_datapath.release(nic.index))
        return record

    async def _move_back(self, record: PluggingRecord) -> PluggingRecord:
        nic = await self._nic_of(record)
        if nic is None:
            log.warning("the NIC is gone, and what the node had on it", nic=record.nic)
            return record

        def work(netlink: IPRoute) -> None:
            configuration.move(netlink, record.objects, record.bridge, nic.name)
            nics.restore(netlink, nic.name, nic.index, record.settings)

        await self._inside(work)
        return record

    async def _remove_bridge(self, record: PluggingRecord) -> PluggingRecord:
        if self.bridges.owner(record.bridge) == record.provider_network:
            await self.bridges.remove(record.bridge)
        return record

    async def _nic_of(self, record: PluggingRecord) -> PhysicalNic | None:
        return await self._inside(lambda netlink: nic_of(netlink, record))

    async def _inside(self, work: Callable[[IPRoute], T]) -> T:
        return await inside(self.ingress.here, work)

    async def filter_ingress(self, record: PluggingRecord) -> None:
        """Drop what the NIC's own stack would receive twice: an earlier process' filter ended with that process.

        What somebody has put upon the NIC since, say a VLAN interface, must receive all the same.
        """
        nic = await self.find(record.nic)
        if nic is not None and nic.uppers:
            await self.ingress.unblock(record.nic)
        elif self.bridges.userspace:
            await self.ingress.block(record.nic)

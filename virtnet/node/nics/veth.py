"""veth: one end on the host, in Open vSwitch; the other in the pod, which bridges it to the guest's tap."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from pyroute2 import IPRoute

from virtnet.api.node_network import tunnel_overhead
from virtnet.node import links
from virtnet.node.handoff.gates import Gates
from virtnet.node.journal import Entry
from virtnet.node.netns import NamespaceGone, exists, inside
from virtnet.node.nics import ResultInterface, Step
from virtnet.node.nics.pod_interface import set_up
from virtnet.node.request import AttachmentId, CniError
from virtnet.ovn.vswitch import InterfaceSpec

TAGGED = 18
"""The header of a tagged frame, which OVN takes off as well where it reckons what fits."""


@dataclass(frozen=True)
class Veth:
    """The driver."""

    here: str
    """The daemon's own namespace, as a path."""
    software_checksums: Callable[[], bool]
    """Whether the switch runs in userspace, and checksums must be filled in before it."""
    gates: Gates
    tunnels: Callable[[], str]
    """The address of the node's tunnels; empty where there is none."""

    def device(self, entry: Entry) -> str:
        return ""

    async def prepare(self, entry: Entry) -> Entry:
        return entry

    def plan(self, entry: Entry) -> tuple[Step, ...]:
        return (_Pair(self), _ShutGate(self.gates), _PodEnd(self))

    def interface(self, entry: Entry) -> InterfaceSpec:
        return InterfaceSpec(host_name(entry.id))

    def hook(self, entry: Entry) -> str:
        return host_name(entry.id)

    def uplink(self, entry: Entry) -> None:
        """Open vSwitch has it."""

    async def observe(self, entry: Entry) -> tuple[ResultInterface, ...]:
        host, pod = await asyncio.gather(
            inside(self.here, lambda netlink: links.find(netlink, host_name(entry.id))),
            inside(entry.netns, lambda netlink: links.find(netlink, entry.interface)),
            return_exceptions=True,
        )
        for found in (host, pod):
            if isinstance(found, NamespaceGone):
                raise CniError(CniError.UNKNOWN_CONTAINER, str(found)) from found
            if isinstance(found, BaseException):
                raise found
        if not isinstance(host, links.Link) or not isinstance(pod, links.Link):
            missing = entry.interface if host else host_name(entry.id)
            raise CniError(CniError.IO, f"interface {missing} is gone", "delete the pod, so that it is attached anew")
        return (
            ResultInterface(host.name, host.mac),
            ResultInterface(entry.interface, entry.attachment.mac, entry.netns),
        )

    async def device_info(self, entry: Entry) -> None:
        return None

    async def alive(self, entry: Entry) -> bool:
        return await inside(self.here, lambda netlink: links.find(netlink, host_name(entry.id))) is not None

    async def marked(self) -> dict[AttachmentId, bool]:
        """A link that still leads into a sandbox proves that it is there."""

        def found(netlink: IPRoute) -> dict[AttachmentId, bool]:
            ours = ((AttachmentId.marked(link.alias), link) for link in links.all_links(netlink))
            return {id_: link.leads_elsewhere for id_, link in ours if id_ is not None and link.name == host_name(id_)}

        return await inside(self.here, found)

    async def remove(self, id_: AttachmentId) -> None:
        await inside(self.here, lambda netlink: _delete(netlink, id_, {id_.mark}))


@dataclass(frozen=True)
class _Pair:
    """The two ends, which come and go together. The host's is the switch's, and up; nothing leaves it before a port."""

    driver: Veth

    def _host_mtu(self, netlink: IPRoute, entry: Entry) -> int:
        """More than the guest's on an underlay whose packets fit into the tunnels, so that OVN lets them in.

        While a port belongs to two chassis, its frames take the tunnels, and OVN refuses those that would not fit if
        the tunnels' MTU were that of this very link.
        """
        mtu, tunnels = entry.attachment.mtu, self.driver.tunnels()
        if entry.attachment.underlay is None or not tunnels:
            return mtu
        room = mtu + tunnel_overhead(tunnels)
        return room + TAGGED if links.mtu_at(netlink, tunnels) >= room else mtu

    async def do(self, entry: Entry) -> None:
        attachment, software = entry.attachment, self.driver.software_checksums()

        def create(netlink: IPRoute) -> None:
            _delete(netlink, entry.id, _journaled(entry.id))  # a stray end may lead into another namespace
            links.create_veth(
                netlink,
                host_name(entry.id),
                netns=entry.netns,
                name=entry.interface,
                address=attachment.mac,
                mtu=attachment.mtu,
                host_mtu=self._host_mtu(netlink, entry),
            )
            host = links.find(netlink, host_name(entry.id))
            if host is None:
                raise CniError(CniError.UNKNOWN_CONTAINER, f"network namespace {entry.netns} went away")
            links.set_alias(netlink, host.index, entry.id.mark)
            if software:
                links.leave_checksums_to_software(host_name(entry.id))
            links.silence(netlink, host.index)
            links.set_up(netlink, host.index)

        if not exists(entry.netns):
            raise CniError(CniError.UNKNOWN_CONTAINER, f"network namespace {entry.netns} does not exist")
        try:
            await inside(self.driver.here, create)
        except links.NameTaken as error:
            problem = (
                f"interface {entry.interface} of the pod, or {host_name(entry.id)} of the node, is somebody else's"
            )
            raise CniError(CniError.ENVIRONMENT, problem, str(error)) from error
        except FileNotFoundError as error:
            raise CniError(CniError.UNKNOWN_CONTAINER, f"network namespace {entry.netns} went away") from error

    async def undo(self, entry: Entry) -> None:
        await inside(self.driver.here, lambda netlink: _delete(netlink, entry.id, _journaled(entry.id)))


def _delete(netlink: IPRoute, id_: AttachmentId, aliases: set[str]) -> None:
    """Delete the pair if it is there, under one of these aliases."""
    host = links.find(netlink, host_name(id_))
    if host is not None and host.alias in aliases:
        links.delete(netlink, host.index)


def _journaled(id_: AttachmentId) -> set[str]:
    """The aliases that the pair of a NIC in our journal may have: none, where we were killed before we could set it."""
    return {"", id_.mark}


def host_name(id_: AttachmentId) -> str:
    """The host's end: known from the id alone, so that a repeated ADD or DEL finds what a crash has left."""
    return f"vn{id_.digest[:11]}"


@dataclass(frozen=True)
class _ShutGate:
    """For the target of a migration: nothing to the guest before it is there. Put up while nothing could pass yet."""

    gates: Gates

    async def do(self, entry: Entry) -> None:
        if entry.migration:
            await self.gates.shut(entry, host_name(entry.id))

    async def undo(self, entry: Entry) -> None:
        await self.gates.forget(entry.id)


@dataclass(frozen=True)
class _PodEnd:
    """The pod's end: bare and silent for a VM, whose guest has the addresses; configured for an ordinary pod."""

    driver: Veth

    async def do(self, entry: Entry) -> None:
        software = self.driver.software_checksums()

        def configure(netlink: IPRoute) -> None:
            link = links.find(netlink, entry.interface)
            if link is None:
                raise CniError(CniError.IO, f"interface {entry.interface} vanished from the pod while it was attached")
            if software:
                links.leave_checksums_to_software(entry.interface)
            set_up(netlink, link.index, entry)

        try:
            await inside(entry.netns, configure)
        except NamespaceGone as error:
            raise CniError(CniError.UNKNOWN_CONTAINER, str(error)) from error

    async def undo(self, entry: Entry) -> None:
        """Nothing: it goes with the pair."""

"""veth: one end on the host, in Open vSwitch; the other in the pod, which bridges it to the guest's tap."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_interface

import structlog
from pyroute2 import IPRoute
from pyroute2.netlink.rtnl.ifaddrmsg import IFA_F_NODAD

from virtnet.api.node_network import tunnel_overhead
from virtnet.node import links
from virtnet.node.gates import Gates
from virtnet.node.journal import Entry
from virtnet.node.netns import NamespaceGone, exists, inside
from virtnet.node.nics import Step
from virtnet.node.request import CniError

log = structlog.get_logger()


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

    def plan(self, entry: Entry) -> tuple[Step, ...]:
        return (_Pair(self), _Gate(self.gates), _PodEnd(self))

    async def observe(self, entry: Entry) -> str:
        host, pod = await asyncio.gather(
            inside(self.here, lambda netlink: links.find(netlink, entry.host_name)),
            inside(entry.netns, lambda netlink: links.find(netlink, entry.interface)),
            return_exceptions=True,
        )
        for found in (host, pod):
            if isinstance(found, NamespaceGone):
                raise CniError(CniError.UNKNOWN_CONTAINER, str(found)) from found
            if isinstance(found, BaseException):
                raise found
        if not isinstance(host, links.Link) or not isinstance(pod, links.Link):
            missing = entry.interface if host else entry.host_name
            raise CniError(CniError.IO, f"interface {missing} is gone", "delete the pod, so that it is attached anew")
        return host.mac

    async def alive(self, entry: Entry) -> bool:
        return await inside(self.here, lambda netlink: links.find(netlink, entry.host_name)) is not None


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
            _delete(netlink, entry)  # a stray end may lead into another namespace
            links.create_veth(
                netlink,
                entry.host_name,
                netns=entry.netns,
                name=entry.interface,
                address=attachment.mac,
                mtu=attachment.mtu,
                host_mtu=self._host_mtu(netlink, entry),
            )
            host = links.find(netlink, entry.host_name)
            if host is None:
                raise CniError(CniError.UNKNOWN_CONTAINER, f"network namespace {entry.netns} went away")
            links.set_alias(netlink, host.index, entry.id.mark)
            if software:
                links.leave_checksums_to_software(entry.host_name)
            links.silence(netlink, host.index)
            links.set_up(netlink, host.index)

        if not exists(entry.netns):
            raise CniError(CniError.UNKNOWN_CONTAINER, f"network namespace {entry.netns} does not exist")
        try:
            await inside(self.driver.here, create)
        except links.NameTaken as error:
            problem = f"interface {entry.interface} of the pod, or {entry.host_name} of the node, is somebody else's"
            raise CniError(CniError.ENVIRONMENT, problem, str(error)) from error
        except FileNotFoundError as error:
            raise CniError(CniError.UNKNOWN_CONTAINER, f"network namespace {entry.netns} went away") from error

    async def undo(self, entry: Entry) -> None:
        await inside(self.driver.here, lambda netlink: _delete(netlink, entry))


def _delete(netlink: IPRoute, entry: Entry) -> None:
    """Delete the pair if it is there and ours.

    One without a mark is ours too: killed between making and marking it. The name is in our journal.
    """
    host = links.find(netlink, entry.host_name)
    if host is not None and host.alias in ("", entry.id.mark):
        links.delete(netlink, host.index)


@dataclass(frozen=True)
class _Gate:
    """For the target of a migration: nothing to the guest before it is there. Put up while nothing could pass yet."""

    gates: Gates

    async def do(self, entry: Entry) -> None:
        if entry.migration:
            await self.gates.shut(entry)

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
            if not entry.attachment.configure:
                # Nobody but the guest may send from its MAC: switches would learn it here before the guest is here.
                links.silence(netlink, link.index)
            _ignore_advertisements(entry)
            links.set_up(netlink, link.index)
            if entry.attachment.configure:
                _configure(netlink, link.index, entry)

        try:
            await inside(entry.netns, configure)
        except NamespaceGone as error:
            raise CniError(CniError.UNKNOWN_CONTAINER, str(error)) from error

    async def undo(self, entry: Entry) -> None:
        """Nothing: it goes with the pair."""


def _ignore_advertisements(entry: Entry) -> None:
    """Where the node does not let us (AppArmor may not), the NIC serves all the same."""
    try:
        links.ignore_advertisements(entry.interface)
    except OSError as error:
        log.warning("takes what routers advertise", nic=str(entry.id), error=str(error))


def _configure(netlink: IPRoute, index: int, entry: Entry) -> None:
    attachment = entry.attachment
    for text in attachment.addresses:
        address = ip_interface(text)
        # A lease proves that nobody else has it: no detection of duplicates, so that it serves at once.
        flags = {"flags": IFA_F_NODAD} if address.version == 6 else {}
        netlink.addr("replace", index=index, address=str(address.ip), prefixlen=address.network.prefixlen, **flags)
    for gateway in attachment.gateways:
        netlink.route("replace", dst="::/0" if ":" in gateway else "0.0.0.0/0", gateway=gateway, oif=index)
    for route in attachment.routes:
        netlink.route("replace", dst=route.destination, gateway=route.gateway, oif=index)

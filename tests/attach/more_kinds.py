"""Two NIC kinds beside the product's: one that no switch has, and one whose interface has a name and type of its own."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass

from pyroute2 import IPRoute

from virtnet.node import links
from virtnet.node.device_info import PciDevice
from virtnet.node.journal import Entry
from virtnet.node.netns import NamespaceGone, exists, inside
from virtnet.node.nics import ResultInterface, Step
from virtnet.node.request import AttachmentId, CniError
from virtnet.ovn.vswitch import InterfaceSpec

UPLINK = "uplink0"
OPTIONS = {"remote_ip": "192.0.2.9", "key": "5"}


async def observed(entry: Entry) -> tuple[ResultInterface, ...]:
    if not await there(entry):
        raise CniError(CniError.IO, f"interface {entry.interface} is gone")
    return (ResultInterface(entry.interface, entry.attachment.mac, entry.netns, entry.device),)


async def there(entry: Entry) -> bool:
    try:
        return await inside(entry.netns, lambda netlink: links.find(netlink, entry.interface)) is not None
    except NamespaceGone:
        return False


async def delete(entry: Entry) -> None:
    def work(netlink: IPRoute) -> None:
        link = links.find(netlink, entry.interface)
        if link is not None:
            links.delete(netlink, link.index)

    if exists(entry.netns):
        await inside(entry.netns, work)


@dataclass(frozen=True)
class Made:
    """The step of both: a link in the pod."""

    where: Callable[[Entry], str]
    """The namespace from which it is made."""
    make: Callable[[IPRoute, Entry], None]

    async def do(self, entry: Entry) -> None:
        await delete(entry)
        await inside(self.where(entry), lambda netlink: self.make(netlink, entry))

    async def undo(self, entry: Entry) -> None:
        await delete(entry)


@dataclass(frozen=True)
class Macvlan:
    """A macvlan of the node's uplink."""

    here: str

    def device(self, entry: Entry) -> str:
        return ""

    async def prepare(self, entry: Entry) -> Entry:
        return entry

    def plan(self, entry: Entry) -> tuple[Step, ...]:
        return (Made(lambda _: self.here, macvlan),)

    def interface(self, entry: Entry) -> None:
        return None

    def hook(self, entry: Entry) -> None:
        return None

    def uplink(self, entry: Entry) -> None:
        return None

    async def observe(self, entry: Entry) -> tuple[ResultInterface, ...]:
        return await observed(entry)

    async def alive(self, entry: Entry) -> bool:
        return await there(entry)

    async def marked(self) -> dict[AttachmentId, bool]:
        return {}

    async def remove(self, id_: AttachmentId) -> None:
        """Nothing of it is on the node."""

    async def device_info(self, entry: Entry) -> PciDevice:
        return PciDevice(entry.device)


@dataclass(frozen=True)
class Geneve:
    """A tunnel in the switch, and a bridge in the pod."""

    def device(self, entry: Entry) -> str:
        return ""

    async def prepare(self, entry: Entry) -> Entry:
        return entry

    def plan(self, entry: Entry) -> tuple[Step, ...]:
        return (Made(lambda entry: entry.netns, bridge),)

    def interface(self, entry: Entry) -> InterfaceSpec:
        return InterfaceSpec(f"gnv{entry.id.digest[:9]}", "geneve", OPTIONS, mtu=entry.attachment.mtu)

    def hook(self, entry: Entry) -> None:
        return None

    def uplink(self, entry: Entry) -> None:
        return None

    async def observe(self, entry: Entry) -> tuple[ResultInterface, ...]:
        return (ResultInterface(self.interface(entry).name, ""), *await observed(entry))

    async def alive(self, entry: Entry) -> bool:
        return await there(entry)

    async def marked(self) -> dict[AttachmentId, bool]:
        return {}

    async def remove(self, id_: AttachmentId) -> None:
        """Nothing of it but its port is on the node."""

    async def device_info(self, entry: Entry) -> None:
        return None


def macvlan(netlink: IPRoute, entry: Entry) -> None:
    uplink = links.find(netlink, UPLINK)
    if uplink is None:
        raise OSError(errno.ENODEV, f"no {UPLINK}")
    descriptor = os.open(entry.netns, os.O_RDONLY)
    try:
        netlink.link(
            "add", ifname=entry.interface, kind="macvlan", link=uplink.index, macvlan_mode="bridge",
            address=entry.attachment.mac, net_ns_fd=descriptor,
        )  # fmt: skip
    finally:
        os.close(descriptor)


def bridge(netlink: IPRoute, entry: Entry) -> None:
    netlink.link("add", ifname=entry.interface, kind="bridge", address=entry.attachment.mac)

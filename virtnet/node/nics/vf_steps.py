"""What attaching a virtual function does, in steps, each of which undoes itself to what was found."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import structlog
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from virtnet.node import links
from virtnet.node.journal import Entry
from virtnet.node.netns import NamespaceGone, exists, inside
from virtnet.node.nics.pod_interface import set_up
from virtnet.node.nics.veth import host_name
from virtnet.node.request import CniError
from virtnet.node.virtual_functions import interface
from virtnet.node.virtual_functions.found import FoundInterface, FoundVf
from virtnet.node.virtual_functions.knobs import Knob, wanted
from virtnet.node.virtual_functions.physical import PhysicalFunctions, link_of
from virtnet.node.virtual_functions.sysfs import LocatedVf

log = structlog.get_logger()


@dataclass(frozen=True)
class KnobStep:
    """One knob at the physical function."""

    node: PhysicalFunctions
    found: FoundVf
    knob: Knob

    async def do(self, entry: Entry) -> None:
        vf = needed_for(self.node, entry)
        needed = wanted(self.found.knobs, entry.attachment)
        try:
            await self.node.set(vf, self.knob, needed)
        except OSError as error:
            raise CniError(
                CniError.NETWORK,
                f"driver {vf.physical_driver} refuses {needed.said(self.knob)} for {vf}: {error.strerror}",
                "leave out of the ClusterSubnet what this NIC cannot, or keep these pods off nodes with it",
            ) from error

    async def undo(self, entry: Entry) -> None:
        vf = same(self.node, entry)
        if vf is None or not vf.uplink:
            return  # its knobs are gone with it
        try:
            await self.node.set(vf, self.knob, self.found.knobs)
        except OSError as error:
            raise CniError(
                CniError.TRY_AGAIN,
                f"driver {vf.physical_driver} does not put {vf} back to {self.found.knobs.said(self.knob)}: "
                f"{error.strerror}",
                f"is {vf.uplink} up, and has it a carrier?",
            ) from error


@dataclass(frozen=True)
class MacStep:
    """The interface's own MAC, once the physical function lets it have that again: the last that is undone."""

    node: PhysicalFunctions
    found: FoundVf
    interface: FoundInterface

    async def do(self, entry: Entry) -> None:
        """Nothing: it gets the Port's once that is set."""

    async def undo(self, entry: Entry) -> None:
        vf = same(self.node, entry)
        if vf is None or vf.driver != self.found.driver:
            return

        def work(netlink: IPRoute) -> bool:
            link = link_of(netlink, vf)
            if link is None or link.mac == self.interface.mac:
                return False
            if link.up:
                links.set_down(netlink, link.index)
            interface.take_mac(netlink, link, self.interface.mac)
            if self.interface.up:
                links.set_up(netlink, link.index)
            return True

        try:
            if await inside(self.node.here, work):
                await KnobStep(self.node, self.found, "mac").undo(entry)  # which some drivers let it change
        except OSError as error:
            # One that its physical function does not let it have now, though it had: nobody's NIC depends on it.
            log.warning("MAC not put back", vf=str(vf), mac=self.interface.mac, error=str(error))


@dataclass(frozen=True)
class MoveStep:
    """The interface goes into the pod, under the pod's name for it, and comes back under its own."""

    node: PhysicalFunctions
    found: FoundVf
    interface: FoundInterface

    async def do(self, entry: Entry) -> None:
        vf = needed_for(self.node, entry)

        def there(netlink: IPRoute) -> bool:
            taken = interface.named(netlink, entry.interface)
            if taken is not None and taken.device != entry.device:
                raise CniError(CniError.ENVIRONMENT, f"the pod has an interface {entry.interface} already")
            return taken is not None

        def move(netlink: IPRoute) -> None:
            link = link_of(netlink, vf)
            if link is None:
                raise CniError(CniError.TRY_AGAIN, f"the interface of {vf} vanished while it was attached")
            interface.prepare(netlink, link, entry.id.mark)
            with _refusal(f"MAC {entry.attachment.mac}", entry):
                interface.take_mac(netlink, link, entry.attachment.mac)
            interface.move(netlink, link, entry.netns, entry.interface)

        try:
            if not await inside(entry.netns, there):
                await inside(self.node.here, move)
        except (NamespaceGone, FileNotFoundError) as error:
            raise CniError(CniError.UNKNOWN_CONTAINER, f"network namespace {entry.netns} does not exist") from error
        except links.NameTaken as error:
            raise CniError(CniError.ENVIRONMENT, f"interface {entry.interface} of the pod: {error}") from error

    async def undo(self, entry: Entry) -> None:
        """From a namespace that is gone it comes back by itself, under whatever name."""
        try:
            with contextlib.suppress(NamespaceGone):
                if exists(entry.netns):
                    await inside(entry.netns, lambda netlink: self._move_back(netlink, entry))
            vf = await self.node.back(entry.device, self.found.driver)
            if vf is not None:
                await inside(self.node.here, lambda netlink: self._put_back(netlink, vf))
        except OSError as error:
            raise CniError(CniError.TRY_AGAIN, f"{entry.device} is not put back: {error.strerror}") from error

    def _move_back(self, netlink: IPRoute, entry: Entry) -> None:
        link = interface.of_device(netlink, entry.device)
        if link is None:
            return
        interface.prepare(netlink, link, entry.id.mark)
        try:
            interface.move(netlink, link, self.node.here, self.interface.name)
        except links.NameTaken:
            if interface.of_device(netlink, entry.device) is not None:
                interface.move(netlink, link, self.node.here, host_name(entry.id))

    def _put_back(self, netlink: IPRoute, vf: LocatedVf) -> None:
        link = link_of(netlink, vf)
        if link is not None:
            interface.put_back(netlink, link, self.interface)


@dataclass(frozen=True)
class PodStep:
    """In the pod: MTU, and what an ordinary pod is to have of addresses and routes."""

    async def do(self, entry: Entry) -> None:
        attachment = entry.attachment

        def configure(netlink: IPRoute) -> None:
            link = interface.of_device(netlink, entry.device)
            if link is None:
                raise CniError(CniError.IO, f"interface {entry.interface} vanished from the pod while it was attached")
            with _refusal(f"MTU {attachment.mtu}", entry):
                links.set_mtu(netlink, link.index, attachment.mtu)
            set_up(netlink, link.index, entry)

        try:
            await inside(entry.netns, configure)
        except NamespaceGone as error:
            raise CniError(CniError.UNKNOWN_CONTAINER, str(error)) from error

    async def undo(self, entry: Entry) -> None:
        """Nothing: addresses and routes go with the move, and the rest is put back on the node."""


def same(node: PhysicalFunctions, entry: Entry) -> LocatedVf | None:
    """The NIC's virtual function, if there still is one of that number of that NIC."""
    vf, found = node.locate(entry.device), entry.virtual_function
    return vf if vf and found and (vf.physical, vf.number) == (found.physical, found.number) else None


def needed_for(node: PhysicalFunctions, entry: Entry) -> LocatedVf:
    """Raises CniError where it is gone."""
    vf = same(node, entry)
    if vf is None:
        raise CniError(CniError.TRY_AGAIN, f"device {entry.device} vanished while it was attached")
    return vf


@contextlib.contextmanager
def _refusal(what: str, entry: Entry) -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        raise CniError(
            CniError.NETWORK,
            f"the driver of {entry.device} refuses {what}: {error}",
            "an MTU must not be larger than that of its physical function, a MAC be the one that this has set for it",
        ) from error

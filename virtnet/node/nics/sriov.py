"""sriov: a virtual function of one of the node's NICs. Its interface goes into the pod; one that is bound to vfio-pci
has none, and goes to the guest as it is.
"""

from dataclasses import dataclass

from pyroute2 import IPRoute

from virtnet.node import links
from virtnet.node.device_info import PciDevice
from virtnet.node.devices.health import VFIO
from virtnet.node.journal import Entry
from virtnet.node.netns import NamespaceGone, exists, inside
from virtnet.node.nics import ResultInterface, Step
from virtnet.node.nics.veth import host_name
from virtnet.node.nics.vf_fitness import check, fit
from virtnet.node.nics.vf_steps import KnobStep, MacStep, MoveStep, PodStep, same
from virtnet.node.request import AttachmentId, CniError
from virtnet.node.virtual_functions import interface
from virtnet.node.virtual_functions.interface import VfLink
from virtnet.node.virtual_functions.knobs import changed, wanted
from virtnet.node.virtual_functions.physical import PhysicalFunctions, VfNow
from virtnet.ovn.vswitch import InterfaceSpec


@dataclass(frozen=True)
class Sriov:
    """The driver."""

    node: PhysicalFunctions

    def device(self, entry: Entry) -> str:
        return entry.device

    async def prepare(self, entry: Entry) -> Entry:
        vf = check(entry, self.node.locate(entry.device))
        try:
            if vf.driver != VFIO:
                vf = await self.node.back(vf.address, vf.driver) or vf  # an earlier pod's namespace may be going
            now = await self.node.look(vf)
        except OSError as error:
            raise CniError(CniError.TRY_AGAIN, f"device {entry.device}: {error.strerror}") from error
        return entry.model_copy(update={"virtual_function": fit(entry, vf, now)})

    def plan(self, entry: Entry) -> tuple[Step, ...]:
        found = entry.virtual_function
        if found is None:
            return ()
        needed = wanted(found.knobs, entry.attachment)
        knobs = tuple(KnobStep(self.node, found, knob) for knob in changed(found.knobs, needed))
        if found.interface is None:
            return knobs
        moved = MoveStep(self.node, found, found.interface)
        return (MacStep(self.node, found, found.interface), *knobs, moved, PodStep())

    def interface(self, entry: Entry) -> InterfaceSpec | None:
        """No switch of the node has it."""

    def hook(self, entry: Entry) -> None:
        """No link of the node is passed by what goes to the guest."""

    def uplink(self, entry: Entry) -> str | None:
        vf = same(self.node, entry)
        return vf.uplink if vf else ""

    async def observe(self, entry: Entry) -> tuple[ResultInterface, ...]:
        found, vf = entry.virtual_function, same(self.node, entry)
        if found is None or vf is None or vf.driver != found.driver:
            driver = f"is bound to {vf.driver or 'no driver'}" if vf else "is gone"
            raise changed_since(f"device {entry.device} {driver}")
        try:
            needed, now = wanted(found.knobs, entry.attachment), await self.node.look(vf)
        except OSError as error:
            raise changed_since(f"{vf}: {error.strerror}") from error
        for knob in ("mac", "vlan"):
            if now.knobs is None or not now.knobs.has(knob, needed):
                there = now.knobs.said(knob) if now.knobs else "no MAC and VLAN"
                raise changed_since(f"{vf} has {there} and not {needed.said(knob)}")
        if not exists(entry.netns):
            raise CniError(CniError.UNKNOWN_CONTAINER, f"network namespace {entry.netns} does not exist")
        if found.interface is not None:
            link = await self._in_pod(entry)
            if link is None or (link.name, link.mac) != (entry.interface, entry.attachment.mac):
                there = f"is {link.name} with MAC {link.mac}" if link else "is not in the pod"
                raise changed_since(f"the interface of {vf} {there}")
        return self.interfaces(entry, now)

    def interfaces(self, entry: Entry, now: VfNow) -> tuple[ResultInterface, ...]:
        """As ``observe`` does, of a virtual function that is as it should be. Raises CniError."""
        return (ResultInterface(entry.interface, entry.attachment.mac, entry.netns, entry.device),)

    async def device_info(self, entry: Entry) -> PciDevice:
        found, vf = entry.virtual_function, same(self.node, entry)
        if found is None or vf is None:
            raise changed_since(f"device {entry.device} is gone")
        representor = found.representor.name if found.representor else ""
        return PciDevice(vf.address, pf_pci_address=vf.physical, representor_device=representor)

    async def alive(self, entry: Entry) -> bool:
        found = entry.virtual_function
        if found is None or not exists(entry.netns) or same(self.node, entry) is None:
            return False
        return found.interface is None or await self._in_pod(entry) is not None

    async def marked(self) -> dict[AttachmentId, bool]:
        """One that is on the node: it has come back from a sandbox that is gone."""
        found = await inside(self.node.here, lambda netlink: list(interface.all_of_devices(netlink)))
        marked = ((AttachmentId.marked(link.alias), link) for link in found)
        return {id_: False for id_, link in marked if id_ is not None and link.name != host_name(id_)}

    async def remove(self, id_: AttachmentId) -> None:
        """What was found is not known any more: its settings stay, until the next NIC needs others."""

        def work(netlink: IPRoute) -> None:
            for link in interface.all_of_devices(netlink):
                if link.alias == id_.mark:
                    links.set_down(netlink, link.index)
                    links.set_alias(netlink, link.index, "")

        await inside(self.node.here, work)

    async def _in_pod(self, entry: Entry) -> VfLink | None:
        try:
            return await inside(entry.netns, lambda netlink: interface.of_device(netlink, entry.device))
        except NamespaceGone:
            return None


def changed_since(what: str) -> CniError:
    """What is not any more as it was attached."""
    return CniError(CniError.IO, what, "delete the pod, so that it is attached anew")

"""switchdev: a virtual function whose representor is its port in Open vSwitch, so that OVN decides on every frame; the
NIC forwards those itself whose flows it has taken.
"""

from dataclasses import dataclass

from virtnet.node.devices.found import SWITCHDEV
from virtnet.node.journal import Entry
from virtnet.node.nics import ResultInterface, Step
from virtnet.node.nics.representor import RepresentorStep
from virtnet.node.nics.sriov import Sriov, changed_since
from virtnet.node.request import AttachmentId
from virtnet.node.virtual_functions.physical import VfNow
from virtnet.ovn.vswitch import InterfaceSpec


@dataclass(frozen=True)
class Switchdev(Sriov):
    """The driver: the virtual function is as with sriov, and its representor comes after it."""

    def plan(self, entry: Entry) -> tuple[Step, ...]:
        found = entry.virtual_function
        if found is None or found.representor is None:
            return ()
        return (*super().plan(entry), RepresentorStep(self.node, found.representor))

    def interface(self, entry: Entry) -> InterfaceSpec | None:
        found = entry.virtual_function
        return InterfaceSpec(found.representor.name) if found and found.representor else None

    def uplink(self, entry: Entry) -> None:
        """Open vSwitch has it."""

    def interfaces(self, entry: Entry, now: VfNow) -> tuple[ResultInterface, ...]:
        spec, there = self.interface(entry), now.representor
        if now.eswitch_mode != SWITCHDEV:
            raise changed_since(f"the NIC of device {entry.device} is not in switchdev mode")
        if spec is None or there is None or there.name != spec.name or not there.up:
            state = f"is {there.name}, {'up' if there.up else 'down'}" if there else "is gone"
            raise changed_since(f"the representor of device {entry.device} {state}")
        return (ResultInterface(there.name, there.mac), *super().interfaces(entry, now))

    async def marked(self) -> dict[AttachmentId, bool]:
        """Those of sriov: a virtual function is marked alike."""
        return {}

    async def remove(self, id_: AttachmentId) -> None:
        """So it is found, too."""

"""Ports of NICs in the switch: what they are marked with, when they are ready, and how they are let go."""

from collections.abc import Iterator

from virtnet.node.journal import Entry
from virtnet.node.nics import Drivers
from virtnet.node.request import AttachmentId, CniError
from virtnet.ovn.errors import OvnError
from virtnet.ovn.vswitch import IFACE_ID, Interface, InterfaceFailed, VSwitch

CONTAINER = "virtnet/container"
INTERFACE = "virtnet/ifname"
NETNS = "virtnet/netns"
POD_UID = "virtnet/pod-uid"
NETWORK = "virtnet/network"


class SwitchPorts:
    """The step that all NIC kinds share: a port with the interface that the NIC's driver names, where it names one."""

    def __init__(self, vswitch: VSwitch, drivers: Drivers) -> None:
        self.vswitch = vswitch
        self.drivers = drivers

    @property
    def problem(self) -> str:
        """Why no NIC can be attached now; empty when one can."""
        if not self.vswitch.up:
            return "Open vSwitch does not answer; is ovsdb-server running on this node?"
        if not self.vswitch.datapath:
            return f"Open vSwitch has no bridge {self.vswitch.bridge}; is ovn-controller running?"
        return ""

    async def plug(self, entry: Entry, patience: float) -> None:
        """Give the NIC its port, with a number by which flows can tell it. OVN does not know of it yet.

        Raises CniError.
        """
        wanted = self.drivers.of(entry).interface(entry)
        if wanted is None:
            return
        there = self.vswitch.interface(wanted.name)
        if there is not None and id_of(there) != entry.id:
            raise CniError(
                CniError.IO,
                f"Open vSwitch has an interface {wanted.name} that virtnet has not made",
                f"remove it: ovs-vsctl del-port {wanted.name}",
            )
        try:
            await self.vswitch.add(wanted, marks(entry))
            numbered = await self.vswitch.wait_numbered(wanted.name, patience)
        except InterfaceFailed as error:
            raise CniError(CniError.IO, str(error)) from error
        except OvnError as error:
            raise CniError(CniError.TRY_AGAIN, f"Open vSwitch: {error}") from error
        if not numbered:
            raise CniError(
                CniError.TRY_AGAIN,
                f"Open vSwitch has not made port {wanted.name} within {patience:g} s",
                "is ovs-vswitchd running on this node?",
            )

    async def claim(self, entry: Entry) -> None:
        """Have OVN bind the NIC's port here. Raises CniError."""
        wanted = self.drivers.of(entry).interface(entry)
        if wanted is None:
            return
        try:
            await self.vswitch.change_ids(wanted.name, put={IFACE_ID: entry.attachment.port})
        except OvnError as error:
            raise CniError(CniError.TRY_AGAIN, f"Open vSwitch: {error}") from error

    async def wait(self, entry: Entry, patience: float) -> None:
        """Until OVN has flows for the port here. Raises CniError when it takes too long."""
        wanted = self.drivers.of(entry).interface(entry)
        if wanted is None:
            return
        try:
            installed = await self.vswitch.wait_installed(wanted.name, patience)
        except InterfaceFailed as error:
            raise CniError(CniError.IO, str(error)) from error
        if not installed:
            raise CniError(
                CniError.TRY_AGAIN,
                f"OVN has not bound port {entry.attachment.port} to this node within {patience:g} s",
                "is the controller running? kubectl describe port shows what it waits for",
            )

    async def undo(self, entry: Entry) -> None:
        """Take the port back. Raises CniError."""
        if self.drivers.of(entry).interface(entry) is not None:
            await self.remove(entry.id)

    async def remove(self, id_: AttachmentId) -> None:
        """Remove the ports that have a NIC's marks, whatever their names. Raises CniError."""
        if not self.vswitch.up:
            # What we know is old: a port that is not in it may be there.
            raise CniError(CniError.TRY_AGAIN, self.problem)
        for name in [interface.name for marked, interface in self.marked() if marked == id_]:
            try:
                await self.vswitch.remove(name)
            except OvnError as error:
                raise CniError(CniError.TRY_AGAIN, f"Open vSwitch: {error}") from error

    async def let_go(self, entry: Entry) -> None:
        """Let OVN unbind the port from this node. Raises OvnError."""
        there = self._interface(entry)
        if there is not None and IFACE_ID in there.external_ids:
            await self.vswitch.change_ids(there.name, remove=frozenset({IFACE_ID}))

    def check(self, entry: Entry) -> None:
        """Raises CniError when the port is not there as it should be."""
        there = self._interface(entry)
        claims = there is not None and there.external_ids.get(IFACE_ID) == entry.attachment.port
        if self.missing(entry) or (there is not None and entry.released_at is None and not claims):
            raise CniError(
                CniError.IO,
                f"port {entry.attachment.port} has no interface in Open vSwitch",
                "delete the pod, so that it is attached anew",
            )

    def missing(self, entry: Entry) -> bool:
        """Whether the switch has lost the port."""
        return self.drivers.of(entry).interface(entry) is not None and self._interface(entry) is None

    def marked(self) -> Iterator[tuple[AttachmentId, Interface]]:
        """All interfaces that are ours."""
        for interface in self.vswitch.interfaces():
            id_ = id_of(interface)
            if id_ is not None:
                yield id_, interface

    def _interface(self, entry: Entry) -> Interface | None:
        """The NIC's interface as the switch has it; None where it has none."""
        wanted = self.drivers.of(entry).interface(entry)
        return self.vswitch.interface(wanted.name) if wanted else None


def id_of(interface: Interface) -> AttachmentId | None:
    """Whose an interface is; None where it is not ours."""
    marks = interface.external_ids
    return AttachmentId(marks[CONTAINER], marks[INTERFACE]) if marks.keys() >= {CONTAINER, INTERFACE} else None


def marks(entry: Entry) -> dict[str, str]:
    """The external_ids of a NIC's interface, but for what claims its port."""
    return {
        "attached-mac": entry.attachment.mac,
        "iface-status": "active",
        CONTAINER: entry.container,
        INTERFACE: entry.interface,
        NETNS: entry.netns,
        POD_UID: entry.pod_uid,
        NETWORK: entry.network_name,
    }

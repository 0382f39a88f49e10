"""A NIC's port in the switch: what it is marked with, when it is ready, and how it is let go."""

from collections.abc import Iterator

import structlog

from virtnet.node.journal import Entry
from virtnet.node.request import AttachmentId, CniError
from virtnet.ovn.errors import OvnError
from virtnet.ovn.vswitch import IFACE_ID, Interface, InterfaceFailed, VSwitch

log = structlog.get_logger()

CONTAINER = "virtnet/container"
INTERFACE = "virtnet/ifname"
NETNS = "virtnet/netns"
POD_UID = "virtnet/pod-uid"
NETWORK = "virtnet/network"


class SwitchPort:
    """The step that every NIC kind shares, and what is left of it without a journal."""

    def __init__(self, vswitch: VSwitch) -> None:
        self._vswitch = vswitch

    @property
    def problem(self) -> str:
        """Why no NIC can be attached now; empty when one can."""
        if not self._vswitch.up:
            return "Open vSwitch does not answer; is ovsdb-server running on this node?"
        if not self._vswitch.datapath:
            return f"Open vSwitch has no bridge {self._vswitch.bridge}; is ovn-controller running?"
        return ""

    async def do(self, entry: Entry) -> None:
        there = self._vswitch.interface(entry.host_name)
        if there is not None and id_of(there) != entry.id:
            raise CniError(
                CniError.IO,
                f"Open vSwitch has an interface {entry.host_name} that virtnet has not made",
                f"remove it: ovs-vsctl del-port {entry.host_name}",
            )
        try:
            await self._vswitch.add(entry.host_name, ids(entry))
        except OvnError as error:
            raise CniError(CniError.TRY_AGAIN, f"Open vSwitch: {error}") from error

    async def wait(self, entry: Entry, patience: float) -> None:
        """Until OVN has flows for the port here. Raises CniError when it takes too long."""
        try:
            installed = await self._vswitch.wait_installed(entry.host_name, patience)
        except InterfaceFailed as error:
            raise CniError(CniError.IO, str(error)) from error
        if not installed:
            raise CniError(
                CniError.TRY_AGAIN,
                f"OVN has not bound port {entry.attachment.port} to this node within {patience:g} s",
                "is the controller running? kubectl describe port shows what it waits for",
            )

    async def undo(self, id_: AttachmentId) -> None:
        """Remove the port, if it is this NIC's."""
        if not self._vswitch.up:
            # What we know is old: a port that is not in it may be there.
            raise CniError(CniError.TRY_AGAIN, self.problem)
        there = self._vswitch.interface(id_.host_name)
        if there is None or id_of(there) != id_:
            return
        try:
            await self._vswitch.remove(id_.host_name)
        except OvnError as error:
            raise CniError(CniError.TRY_AGAIN, f"Open vSwitch: {error}") from error

    async def let_go(self, entry: Entry) -> None:
        """Let OVN unbind the port from this node. Raises OvnError."""
        there = self._vswitch.interface(entry.host_name)
        if there is not None and IFACE_ID in there.external_ids:
            await self._vswitch.change_ids(entry.host_name, remove=frozenset({IFACE_ID}))

    def check(self, entry: Entry) -> None:
        """Raises CniError when the port is not there as it should be."""
        there = self._vswitch.interface(entry.host_name)
        if there is None or (entry.released_at is None and there.external_ids.get(IFACE_ID) != entry.attachment.port):
            raise CniError(
                CniError.IO,
                f"port {entry.attachment.port} has no interface in Open vSwitch",
                "delete the pod, so that it is attached anew",
            )

    def missing(self, entry: Entry) -> bool:
        """Whether the switch has lost the port."""
        return self._vswitch.interface(entry.host_name) is None

    def marked(self) -> Iterator[tuple[AttachmentId, Interface]]:
        """All interfaces that are ours."""
        for interface in self._vswitch.interfaces():
            id_ = id_of(interface)
            if id_ is not None:
                yield id_, interface


def id_of(interface: Interface) -> AttachmentId | None:
    """Whose an interface is; None where it is not ours."""
    marks = interface.external_ids
    return AttachmentId(marks[CONTAINER], marks[INTERFACE]) if marks.keys() >= {CONTAINER, INTERFACE} else None


def ids(entry: Entry) -> dict[str, str]:
    """The external_ids of a NIC's interface."""
    claim = {IFACE_ID: entry.attachment.port} if entry.released_at is None else {}
    return {
        **claim,
        "attached-mac": entry.attachment.mac,
        "iface-status": "active",
        CONTAINER: entry.container,
        INTERFACE: entry.interface,
        NETNS: entry.netns,
        POD_UID: entry.pod_uid,
        NETWORK: entry.network_name,
    }

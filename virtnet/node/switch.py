"""A NIC's port in the switch: what it is marked with, when it is ready, and how it is let go."""

import structlog

from virtnet.node.journal import Entry
from virtnet.node.request import CniError
from virtnet.ovn.errors import OvnError
from virtnet.ovn.vswitch import IFACE_ID, MARK, InterfaceFailed, VSwitch

log = structlog.get_logger()

POD_UID = "virtnet/pod-uid"
INTERFACE = "virtnet/interface"


class SwitchPort:
    """The step that every NIC kind shares."""

    def __init__(self, vswitch: VSwitch) -> None:
        self._vswitch = vswitch

    @property
    def ready(self) -> bool:
        return self._vswitch.up and bool(self._vswitch.datapath)

    async def do(self, entry: Entry) -> None:
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

    async def undo(self, entry: Entry) -> None:
        """Remove the port, if it is this NIC's."""
        interface = self._vswitch.interfaces().get(entry.host_name)
        if interface is not None and interface.external_ids.get(MARK) == entry.container:
            try:
                await self._vswitch.remove(entry.host_name)
            except OvnError as error:
                raise CniError(CniError.TRY_AGAIN, f"Open vSwitch: {error}") from error

    async def release(self, entry: Entry) -> None:
        """Let OVN unbind the port from this node."""
        interface = self._vswitch.interfaces().get(entry.host_name)
        if interface is not None and IFACE_ID in interface.external_ids:
            await self._vswitch.change_ids(entry.host_name, remove=frozenset({IFACE_ID}))

    def check(self, entry: Entry) -> None:
        """Raises CniError when the port is not there as it should be."""
        interface = self._vswitch.interfaces().get(entry.host_name)
        if interface is None or interface.external_ids.get(IFACE_ID) != entry.attachment.port:
            raise CniError(CniError.IO, f"port {entry.attachment.port} has no interface in Open vSwitch")

    async def tidy(self, known: dict[str, Entry]) -> None:
        """Make the switch hold exactly the ports of these NICs, by host name; others' are left alone."""
        present = self._vswitch.interfaces()
        for name, interface in present.items():
            if MARK in interface.external_ids and name not in known:
                log.info("stray port removed", interface=name)
                await self._vswitch.remove(name)
        for name, entry in known.items():
            if name not in present:
                log.info("lost port restored", interface=name, port=entry.attachment.port)
                await self._vswitch.add(name, ids(entry))


def ids(entry: Entry) -> dict[str, str]:
    """The external_ids of a NIC's interface."""
    claim = {} if entry.released else {IFACE_ID: entry.attachment.port}
    return {
        **claim,
        "attached-mac": entry.attachment.mac,
        "iface-status": "active",
        MARK: entry.container,
        INTERFACE: entry.interface,
        POD_UID: entry.pod_uid,
    }

"""vhostuser: Open vSwitch with DPDK reads and writes the guest's memory, over a socket that QEMU makes in its pod."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from virtnet.api.node_devices import SwitchDpdk
from virtnet.api.vhostuser import LAUNCHER_SOCKETS, LAUNCHER_VOLUME, POD_VOLUME, socket_name
from virtnet.node import mounts
from virtnet.node.device_info import VhostUserDevice
from virtnet.node.journal import Entry
from virtnet.node.netns import exists
from virtnet.node.nics import ResultInterface, Step
from virtnet.node.request import AttachmentId, CniError
from virtnet.ovn.vswitch import VHOST_USER, InterfaceSpec

LONGEST_SOCKET = 107
"""Bytes of a socket's path (unix(7), sun_path)."""


@dataclass(frozen=True)
class VhostUser:
    """The driver."""

    switch: Callable[[], SwitchDpdk]
    """Whether this node serves such NICs."""
    process: Callable[[], int]
    """The switch's. Raises OSError."""
    sockets: Path
    """Where each NIC has a directory, in which its pod's is shown: that one's own path is too long for a socket."""
    pods: Path
    """Where kubelet has the pods' volumes."""

    def device(self, entry: Entry) -> str:
        return ""

    async def prepare(self, entry: Entry) -> Entry:
        return entry

    def plan(self, entry: Entry) -> tuple[Step, ...]:
        return (_ShownDirectory(self),)

    def interface(self, entry: Entry) -> InterfaceSpec:
        options = {"vhost-server-path": str(self.socket(entry))}
        return InterfaceSpec(port_name(entry.id), VHOST_USER, options, mtu=entry.attachment.mtu)

    def hook(self, entry: Entry) -> None:
        return None

    def uplink(self, entry: Entry) -> None:
        """Open vSwitch has it."""

    async def observe(self, entry: Entry) -> tuple[ResultInterface, ...]:
        if not exists(entry.netns):
            raise CniError(CniError.UNKNOWN_CONTAINER, f"network namespace {entry.netns} does not exist")
        shown = self.shown(entry.id)
        try:
            there = mounts.is_shown(self.directory(entry), shown, self.process())
        except OSError as error:
            raise CniError(CniError.TRY_AGAIN, f"what Open vSwitch sees at {shown} cannot be said: {error}") from error
        if not there:
            raise CniError(CniError.IO, f"{shown} is gone", "delete the pod, so that it is attached anew")
        return (
            ResultInterface(port_name(entry.id), ""),
            ResultInterface(entry.interface, entry.attachment.mac, entry.netns, socket=_in_pod(entry)),
        )

    async def device_info(self, entry: Entry) -> VhostUserDevice:
        return VhostUserDevice("server", _in_pod(entry))

    async def alive(self, entry: Entry) -> bool:
        return exists(entry.netns)

    async def marked(self) -> dict[AttachmentId, bool]:
        """The port in the switch has them all."""
        return {}

    async def remove(self, id_: AttachmentId) -> None:
        mounts.hide(self.shown(id_))

    def shown(self, id_: AttachmentId) -> Path:
        return self.sockets / id_.digest[:16]

    def directory(self, entry: Entry) -> Path:
        """Where the pod makes its sockets."""
        volume = POD_VOLUME if entry.attachment.socket_directory else LAUNCHER_VOLUME
        return self.pods / entry.pod_uid / "volumes/kubernetes.io~empty-dir" / volume

    def socket(self, entry: Entry) -> Path:
        return self.shown(entry.id) / socket_name(entry.interface)


@dataclass(frozen=True)
class _ShownDirectory:
    """The pod's directory where the switch looks for the socket. A link that the pod puts there leads it nowhere."""

    driver: VhostUser

    async def do(self, entry: Entry) -> None:
        switch = self.driver.switch()
        if not switch.healthy:
            raise CniError(
                CniError.TRY_AGAIN,
                f"port {entry.attachment.port}: this node serves no vhost-user NICs: {switch.message}",
            )
        socket = os.fsencode(self.driver.socket(entry))
        if len(socket) > LONGEST_SOCKET:
            raise CniError(
                CniError.ENVIRONMENT,
                f"socket {os.fsdecode(socket)} has {len(socket)} bytes, and no more than {LONGEST_SOCKET} are taken",
                "start virtnet-node with a --socket in a directory of a shorter name",
            )
        directory, shown = self.driver.directory(entry), self.driver.shown(entry.id)
        try:
            process = self.driver.process()
            if not mounts.seen(directory, process).is_dir():
                raise CniError(
                    CniError.TRY_AGAIN,
                    f"pod {entry.pod} has no volume {directory.name}, where its sockets are to be",
                    "is kubelet's directory another one? virtnet-node --kubelet-dir",
                )
            if not mounts.is_shown(directory, shown, process):
                await mounts.show(directory, shown, process)
        except OSError as error:
            raise CniError(
                CniError.TRY_AGAIN,
                f"pod {entry.pod}: its directory of sockets cannot be shown to Open vSwitch: {error}",
                "Linux 5.14 or newer can; does virtnet-node have the rights of manifests/base/node.yaml?",
            ) from error

    async def undo(self, entry: Entry) -> None:
        await self.driver.remove(entry.id)


def _in_pod(entry: Entry) -> str:
    """The socket as the pod's processes see it."""
    return f"{entry.attachment.socket_directory or LAUNCHER_SOCKETS}/{socket_name(entry.interface)}"


def port_name(id_: AttachmentId) -> str:
    """The port in the switch: known from the id alone, so that a repeated ADD or DEL finds what a crash has left."""
    return f"vh{id_.digest[:11]}"

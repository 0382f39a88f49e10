"""Devices of NICs: one NIC has one at a time, and of a pod to which the kubelet has allotted it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from virtnet.node.allocations import Allocations
from virtnet.node.journal import Entry, Journal
from virtnet.node.nics import Drivers
from virtnet.node.pods import Pods, over
from virtnet.node.request import AttachmentId, CniError

log = structlog.get_logger()

Detach = Callable[[AttachmentId], Awaitable[None]]


@dataclass(frozen=True)
class Reservations:
    """Who has which device: the journal says it."""

    journal: Journal
    pods: Pods
    drivers: Drivers
    allocations: Allocations

    async def make(self, entry: Entry, *, busy: Callable[[AttachmentId], bool], detach: Detach) -> None:
        """Return once nobody else has the NIC's device, if it takes one, nor its port by another device of this node.

        What an ended pod has left is detached: nothing of it is undone later, under the new one. It holds until the
        caller awaits something other than the NIC's first record. Raises CniError.
        """
        if not self._device(entry):
            return
        await self.allocations.check(entry)
        while (other := self._holder(entry)) is not None:
            if not await self._ended(other, entry):
                what = f"device {entry.device}" if other.device == entry.device else f"port {entry.attachment.port}"
                raise CniError(
                    CniError.TRY_AGAIN,
                    f"{what} belongs to interface {other.interface} of pod {other.pod}, which runs on this node",
                    "end that pod: a device, and a port, is one pod's at a time",
                )
            if busy(other.id):
                raise CniError(
                    CniError.TRY_AGAIN,
                    f"device {other.device} is being taken from pod {other.pod}",
                    "it is tried again",
                )
            log.info("device taken over", device=other.device, nic=str(other.id), by=str(entry.id))
            await detach(other.id)

    def _holder(self, entry: Entry) -> Entry | None:
        return next(
            (
                other
                for other in self.journal
                if other.id != entry.id
                and (device := self._device(other))
                and (device == entry.device or other.attachment.port == entry.attachment.port)
            ),
            None,
        )

    def _device(self, entry: Entry) -> str:
        """Whatever a NIC's configuration names, not every kind takes it."""
        return self.drivers.of(entry).device(entry)

    async def _ended(self, other: Entry, entry: Entry) -> bool:
        """Whether a NIC is of another pod that has ended, or of an earlier sandbox of the same one."""
        if other.pod_uid == entry.pod_uid:
            return other.container != entry.container
        return await over(self.pods, other)

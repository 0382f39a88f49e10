"""Order after crashes and reboots, at the start; and after the switch has lost ports, at any time."""

import asyncio

import structlog

from virtnet.node.attach import Attacher, Parts
from virtnet.node.request import AttachmentId, CniError
from virtnet.ovn.vswitch import VSwitch

log = structlog.get_logger()

RETRY_SECONDS = 1.0


async def tidy(attacher: Attacher, parts: Parts) -> None:
    """What a crash or a reboot has left: NICs that are half attached, or without a sandbox, go.

    One that was being attached goes too: the runtime asks again, under the same name or another.
    """
    for entry in parts.journal:
        if entry.state != "Attached" or not await parts.drivers[entry.attachment.nic].alive(entry):
            await _remove(attacher, entry.id, f"left over, {entry.state}")
        elif entry.released_at is not None:
            await attacher.release(entry)
    for id_ in await parts.leftovers.dead():
        if parts.journal.get(id_) is None:
            await _remove(attacher, id_, "left over, in no journal")
    for id_, _ in parts.port.marked():
        if parts.journal.get(id_) is None:
            log.warning("a NIC of a living sandbox is in no journal; DEL or GC will remove it", nic=str(id_))


async def _remove(attacher: Attacher, id_: AttachmentId, why: str) -> None:
    log.info("removed", nic=str(id_), why=why)
    try:
        await attacher.detach(id_)
    except CniError as error:
        log.warning("left for DEL or the next start", nic=str(id_), error=str(error))


class Repair:
    """Gives attached NICs the ports back that the switch has lost, for example with its database."""

    def __init__(self, attacher: Attacher, parts: Parts, vswitch: VSwitch) -> None:
        self._attacher = attacher
        self._parts = parts
        self._look = asyncio.Event()
        self._look.set()
        vswitch.on_change(self._look.set)

    async def run(self) -> None:
        while True:
            await self._look.wait()
            self._look.clear()
            if not await self._restored():
                await asyncio.sleep(RETRY_SECONDS)
                self._look.set()

    async def _restored(self) -> bool:
        """Whether all that is attached has its port, as far as anybody can tell."""
        if self._parts.port.problem:
            return False
        try:
            for entry in self._parts.journal:
                if entry.state == "Attached" and self._parts.port.missing(entry):
                    await self._attacher.restore(entry)
        except CniError as error:
            log.warning("lost port not restored yet", error=str(error))
            return False
        return True

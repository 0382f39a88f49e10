"""Order after crashes and reboots, at the start; and after the switch has lost ports, at any time.

What cannot be put in order now must hold up nothing else, least of all the daemon: every pod of the node waits for it.
"""

import asyncio

import structlog

from virtnet.node.attach import Attacher, Parts
from virtnet.node.journal import Entry
from virtnet.node.request import AttachmentId, CniError
from virtnet.ovn.errors import OvnError
from virtnet.ovn.vswitch import VSwitch

log = structlog.get_logger()

RETRY_SECONDS = 1.0


async def recover(attacher: Attacher, parts: Parts) -> None:
    """Remove what a crash or a reboot has left: NICs that are half attached, or without a sandbox.

    One that was being attached goes too: the runtime asks again, under the same name or another.
    """
    for entry in parts.journal:
        if entry.state != "Attached" or not await _alive(parts, entry):
            await _remove(attacher, entry.id, f"left over, {entry.state}")
    for id_ in await parts.orphans.dead():
        if id_ not in parts.journal:
            await _remove(attacher, id_, "left over, in no journal")
    for id_, _ in parts.ports.marked():
        if id_ not in parts.journal:
            log.warning("a NIC of a living sandbox is in no journal; DEL or GC will remove it", nic=str(id_))


async def _alive(parts: Parts, entry: Entry) -> bool:
    """Also where that cannot be said: it may be a running VM's."""
    try:
        return await parts.drivers.of(entry).alive(entry)
    except OSError as error:
        log.warning("left as it is", nic=str(entry.id), error=str(error))
        return True


async def _remove(attacher: Attacher, id_: AttachmentId, why: str) -> None:
    log.info("removed", nic=str(id_), why=why)
    try:
        await attacher.detach(id_)
    except (CniError, OSError) as error:
        log.warning("left for DEL or the next start", nic=str(id_), error=str(error))


class Repair:
    """Keeps the switch in step with the journal: attached NICs get ports back that it has lost, for example with its
    database, and what was let go before a crash could tell it so is let go.
    """

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
            if not await self._all_in_step():
                await asyncio.sleep(RETRY_SECONDS)
                self._look.set()

    async def _all_in_step(self) -> bool:
        """As far as anybody can tell."""
        if self._parts.ports.problem:
            return False
        return all([await self._in_step(entry) for entry in self._parts.journal])

    async def _in_step(self, entry: Entry) -> bool:
        try:
            if entry.state == "Attached" and self._parts.ports.missing(entry):
                await self._attacher.restore(entry)
            if entry.released_at is not None:
                await self._attacher.release(entry)
        except (CniError, OvnError, OSError) as error:
            log.warning("not repaired yet", nic=str(entry.id), error=str(error))
            return False
        return True

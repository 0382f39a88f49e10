"""A running guest from one QEMU to another, through a socket of the machine that both are on."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass

from virtnet.lab.standin.qemu import Qemu
from virtnet.lab.standin.qmp import QmpError, QmpEvent, moment
from virtnet.lab.standin.ways import Way

DOWNTIME_MS = 20
"""How long the guest may stand still: the last round is begun when it is expected to take no longer."""

UNLIMITED = 1 << 40
SLOW = 2 << 20
"""Bytes per second. A guest that is to go on in post-copy must not have arrived before that is asked for."""

ANNOUNCED_SECONDS = 0.1
"""After so long, QEMU has announced a guest that runs."""

ENDED = ("failed", "cancelled")


class SwitchoverFailed(Exception):  # noqa: N818 - what it is
    """The guest did not move; it goes on where it was. The message is the reason that people see."""


@dataclass(frozen=True)
class Switchover:
    """When the guest stopped on the source and went on on the target; None where nobody was there to see it."""

    stop: float | None
    resume: float | None

    @property
    def pause_ms(self) -> float | None:
        if self.stop is None or self.resume is None:
            return None
        return round((self.resume - self.stop) * 1000, 3)


async def move(
    source: Qemu | None, target: Qemu, *, way: Way = Way.USUAL, while_moving: Coroutine[None, None, None]
) -> Switchover:
    """Move the guest, or wait for the move that an earlier stand-in has begun. Raises SwitchoverFailed, QmpError.

    ``while_moving`` is awaited before the end is: what is to be told of a guest in motion comes first.
    """
    seen = len(source.qmp.events) if source else 0
    try:
        if source is not None:
            await _begin(source, target, way)
    finally:
        await while_moving
    resumed = await _resumed(source, target, seen)
    if way is Way.FREEZES:
        await target.qmp.execute("stop")
    if way is Way.FAILS_LATE and source is not None:
        await asyncio.sleep(ANNOUNCED_SECONDS)
        await target.quit()
        raise SwitchoverFailed(await _reason(source, target))
    stopped = next((event for event in source.qmp.events[seen:] if event["event"] == "STOP"), None) if source else None
    return Switchover(moment(stopped) if stopped else None, moment(resumed) if resumed else None)


async def cancel(source: Qemu) -> None:
    """Give up a move, if it is not over. ``move`` then raises SwitchoverFailed. Raises QmpError when QEMU is gone."""
    await source.qmp.execute("migrate_cancel")


async def arrived(source: Qemu) -> None:
    """Until a guest in post-copy has all of its memory. Raises QmpError when the source is gone before."""
    await _until(source, "completed")


async def _begin(source: Qemu, target: Qemu, way: Way) -> None:
    if await _begun(source):
        return
    bandwidth = SLOW if way in {Way.SLOW, Way.POST_COPY} else UNLIMITED
    await source.qmp.execute("migrate-set-parameters", downtime_limit=DOWNTIME_MS, max_bandwidth=bandwidth)
    for one in (source, target):  # always: the source may have it from the way it came
        state = {"capability": "postcopy-ram", "state": way is Way.POST_COPY}
        await one.qmp.execute("migrate-set-capabilities", capabilities=[state])
    if way is Way.UNANNOUNCED:
        await target.qmp.execute("migrate-set-parameters", announce_rounds=0)
    if way is Way.FAILS:
        raise SwitchoverFailed("the target does not take the guest")
    await source.qmp.execute("migrate", uri=f"unix:{target.incoming}")
    if way is Way.POST_COPY:
        await _until(source, "active", "device")
        await source.qmp.execute("migrate-start-postcopy")


async def _until(source: Qemu, *wanted: str) -> None:
    """Until the source says so of its migration. Asked, not heard: events may be those of an earlier one."""
    while (status := (await source.qmp.execute("query-migrate")).get("status", "none")) not in wanted:
        if status in ENDED:
            raise SwitchoverFailed(f"migration {status}")
        await asyncio.sleep(0.01)


async def _begun(source: Qemu) -> bool:
    """Whether an earlier stand-in has. A guest that itself came by a migration has one that is completed, and runs."""
    if (await source.qmp.execute("query-status"))["status"] in {"finish-migrate", "postmigrate"}:
        return True
    status = (await source.qmp.execute("query-migrate")).get("status", "none")
    return status in {"setup", "active", "pre-switchover", "device", "cancelling"}


async def _resumed(source: Qemu | None, target: Qemu, seen: int) -> QmpEvent | None:
    """The event of the target's start; None if it has run for longer than we know it. Raises SwitchoverFailed."""
    try:
        running = (await target.qmp.execute("query-status"))["running"]
    except QmpError as problem:
        raise SwitchoverFailed(await _reason(source, target)) from problem
    if running:
        return target.qmp.find(_is_resume)
    arrives = asyncio.create_task(target.qmp.wait(_is_resume))
    tasks = {arrives}
    if source is not None:
        tasks.add(asyncio.create_task(source.qmp.wait(_is_end, since=seen)))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in tasks:
            if not one.done():
                one.cancel()
    if arrives.done() and not arrives.cancelled() and arrives.exception() is None:
        return arrives.result()
    await asyncio.gather(*tasks, return_exceptions=True)
    raise SwitchoverFailed(await _reason(source, target))


async def _reason(source: Qemu | None, target: Qemu) -> str:
    """Why it failed; and the guest goes on, if all of it had been sent to a target that then died."""
    if source is None:
        return "the source's QEMU is gone"
    try:
        said = await source.qmp.execute("query-migrate")
        if not (await source.qmp.execute("query-status"))["running"]:
            await source.qmp.execute("cont")
    except QmpError:
        return "the source's QEMU is gone"
    if target.qmp.closed.is_set():
        return "the target's QEMU is gone"
    return str(said.get("error-desc") or f"migration {said.get('status')}")


def _is_resume(event: QmpEvent) -> bool:
    return bool(event["event"] == "RESUME")


def _is_end(event: QmpEvent) -> bool:
    return bool(event["event"] == "MIGRATION" and event["data"]["status"] in ENDED)

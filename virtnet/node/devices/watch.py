"""Keeps the inventory: reads it anew when the kernel says that something has changed, and from time to time."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import structlog

from virtnet.api.node_devices import NodeDevices
from virtnet.node.devices import links, uevents
from virtnet.node.devices.found import Found
from virtnet.node.devices.inventory import inventory
from virtnet.node.devices.links import Counted
from virtnet.node.devices.reading import read
from virtnet.node.monitor import LinkEvent, events
from virtnet.node.netns import inside

log = structlog.get_logger()

SETTLE_SECONDS = 0.1
"""What the kernel tells of one change comes within that."""
PAUSE_SECONDS = 0.3
"""Between two readings, however much happens."""
REFRESH_SECONDS = 60.0
"""For what nobody tells of: huge pages, the eswitch mode of a driver that makes no interfaces."""
TELL_SECONDS = 2.0
"""Between two changes that are told of; the first is at once."""


class Devices:
    """The node's devices."""

    def __init__(self, here: str, reading: Callable[[], Found] = read) -> None:
        self._here = here
        self._reading = reading
        self._found: Found | None = None
        self._current: NodeDevices | None = None
        self._links: Mapping[str, Counted] = {}
        self._look = asyncio.Event()
        self._tell: Callable[[], None] = lambda: None
        self._nudge: Callable[[], None] = lambda: None
        self._told_at = float("-inf")
        self._later: asyncio.TimerHandle | None = None

    @property
    def current(self) -> NodeDevices | None:
        """As they were read last; None before that."""
        return self._current

    @property
    def found(self) -> Found | None:
        """What the kernel had at the last reading; None before that."""
        return self._found

    def on_reading(self, nudge: Callable[[], None]) -> None:
        """Call whenever a reading has found something else than the one before."""
        self._nudge = nudge

    def on_change(self, tell: Callable[[], None]) -> None:
        """Call when the inventory has changed; seldom, while much happens."""
        self._tell = tell

    async def run(self) -> None:
        """Keep it until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_devices(), name="uevents")
            group.create_task(self._follow_links(), name="links of NICs")
            group.create_task(self._keep(), name="devices")

    async def _follow_devices(self) -> None:
        while True:
            try:
                await uevents.follow(self._here, self._look.set)
            except OSError as error:
                log.warning("the kernel's events of devices cannot be read", error=str(error))
                await asyncio.sleep(REFRESH_SECONDS)

    async def _follow_links(self) -> None:
        async for event in events(self._here):
            if not isinstance(event, LinkEvent) or event.name in self._links:
                self._look.set()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._look.clear()
            try:
                found = await inside(self._here, lambda _: self._reading())
            except OSError as error:
                log.warning("the node's devices cannot be read", error=str(error))
            else:
                self._take(found, loop.time())
            due = links.due(self._links)
            wait = REFRESH_SECONDS if due is None else min(REFRESH_SECONDS, max(0.0, due - loop.time()))
            await asyncio.sleep(PAUSE_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._look.wait()
                await asyncio.sleep(SETTLE_SECONDS)

    def _take(self, found: Found, now: float) -> None:
        if found != self._found:
            self._found = found
            self._nudge()
        uplinks = (nic.uplink for nic in found.nics)
        self._links = links.count(self._links, (one for one in uplinks if one is not None), now)
        current = inventory(found, {name: one.state for name, one in self._links.items()})
        if current == self._current:
            return
        self._current = current
        if self._later is None:
            wait = max(0.0, self._told_at + TELL_SECONDS - now)
            self._later = asyncio.get_running_loop().call_later(wait, self._tell_now)

    def _tell_now(self) -> None:
        self._later = None
        self._told_at = asyncio.get_running_loop().time()
        self._tell()

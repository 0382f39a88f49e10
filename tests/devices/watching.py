"""A node's inventory as it is kept, to be waited for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from virtnet.api.node_devices import NodeNicDevice
from virtnet.node.devices.found import Found
from virtnet.node.devices.reading import read
from virtnet.node.devices.watch import Devices


class Watched:
    """A node's inventory."""

    def __init__(self, here: str, reading: Callable[[], Found]) -> None:
        self.devices = Devices(here, reading)
        self._changed = asyncio.Event()
        self.devices.on_change(self._changed.set)

    @property
    def nics(self) -> tuple[NodeNicDevice, ...]:
        return self.devices.current.nics if self.devices.current else ()

    def drivers(self) -> dict[str, str]:
        """Driver by numbers of virtual functions."""
        return {one.indices: one.driver for nic in self.nics for one in nic.virtual_functions}

    async def told(self) -> None:
        async with asyncio.timeout(20):
            await self._changed.wait()
        self._changed.clear()


@asynccontextmanager
async def watching(here: str = "/proc/self/ns/net", reading: Callable[[], Found] = read) -> AsyncIterator[Watched]:
    watched = Watched(here, reading)
    task = asyncio.create_task(watched.devices.run())
    try:
        await watched.told()
        yield watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

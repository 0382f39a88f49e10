"""NICs of which the node's own stack drops received frames: a switch in userspace brings it the same ones."""

import asyncio
import contextlib
import socket
from dataclasses import dataclass, field

from virtnet.node import nft
from virtnet.node.netns import inside


@dataclass
class IngressFilters:
    """They last as long as the process: the kernel removes each when its socket is closed."""

    here: str
    _sockets: dict[str, socket.socket] = field(default_factory=dict)

    async def block(self, nic: str) -> None:
        """Drop what the stack receives from a NIC, where the kernel can do that."""
        if nic not in self._sockets:
            with contextlib.suppress(OSError):  # a frame that comes twice is no harm
                self._sockets[nic] = await inside(self.here, lambda _: nft.deaf(nic))

    async def unblock(self, nic: str) -> None:
        """Let the stack receive from a NIC again."""
        if kept := self._sockets.pop(nic, None):
            await asyncio.to_thread(kept.close)  # which waits for the kernel

    async def close(self) -> None:
        """Remove all filters."""
        for nic in list(self._sockets):
            await self.unblock(nic)

"""NICs that the node's own stack does not hear, where a switch in userspace has them and brings it the same frames."""

import asyncio
import contextlib
import socket
from dataclasses import dataclass, field

from virtnet.node import nft
from virtnet.node.netns import inside


@dataclass
class Hearing:
    """Lasts as long as the process: the kernel undoes it when the sockets are closed."""

    here: str
    _deaf: dict[str, socket.socket] = field(default_factory=dict)

    async def shut(self, nic: str) -> None:
        """Nothing of a NIC is heard twice any more, where the kernel can do that."""
        if nic not in self._deaf:
            with contextlib.suppress(OSError):  # heard twice is no harm
                self._deaf[nic] = await inside(self.here, lambda _: nft.deaf(nic))

    async def open(self, nic: str) -> None:
        """Closing waits for the kernel, so it is not done in the loop."""
        if kept := self._deaf.pop(nic, None):
            await asyncio.to_thread(kept.close)

    async def close(self) -> None:
        for nic in list(self._deaf):
            await self.open(nic)

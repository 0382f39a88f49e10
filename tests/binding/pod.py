"""What a launcher pod and its sidecar share, and the sidecar as its image starts it."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from tests.binding.samples import BLUE
from virtnet.lab.standin.hook_sidecars import NEWEST_FIRST, Sidecar, collect

SECONDS = 60
INFO = {"interfaces": [{"network": "blue", "mac": BLUE.mac, "mtu": BLUE.mtu}]}


class Pod:
    """The two directories, and the sidecar's process."""

    def __init__(self, state: Path) -> None:
        self.sockets, self.network_info = state / "hooks", state / "network-info"
        self.sockets.mkdir()
        self.network_info.write_text(json.dumps(INFO))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        words = "--directory", str(self.sockets), "--network-info", str(self.network_info), *more
        dying = "setpriv", "--pdeathsig", "KILL"  # with the test
        self.process = subprocess.Popen([*dying, sys.executable, "-m", "virtnet.binding", *words])
        return self.process

    async def sidecar(self, *, known: tuple[str, ...] = NEWEST_FIRST) -> Sidecar:
        (found,) = await asyncio.wait_for(collect(self.sockets, 1, known=known), SECONDS)
        return found

    async def ended(self) -> int:
        assert self.process
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait), SECONDS)

    async def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            await self.ended()

"""The node daemon for tests: the real parts, pods from a file, OVN played by whoever marks interfaces as installed.

``CRASH_AT=do:2`` or ``undo:1``: the process dies as by kill -9 before that step of a NIC, counted from 0.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtnet.kube.errors import NotFound, Unavailable
from virtnet.node.attach import Attacher
from virtnet.node.daemon import tidy
from virtnet.node.journal import Entry, Journal
from virtnet.node.nics import Step
from virtnet.node.nics.veth import Veth
from virtnet.node.server import Server
from virtnet.node.switch import SwitchPort
from virtnet.ovn.vswitch import IFACE_ID, VSwitch

AT, _, NUMBER = os.environ.get("CRASH_AT", "").partition(":")
PATIENCE = float(os.environ.get("PATIENCE", "10"))
OVN = os.environ.get("OVN", "works")


def die_at(what: str, number: int) -> None:
    if what == AT and number == int(NUMBER):
        os.kill(os.getpid(), signal.SIGKILL)


class FilePods:
    def __init__(self, path: Path) -> None:
        self._path = path

    async def pod(self, namespace: str, name: str) -> Mapping[str, Any]:
        pods = json.loads(self._path.read_text())
        if pods.get("unavailable"):
            raise Unavailable("connection refused")
        try:
            return pods[f"{namespace}/{name}"]
        except KeyError:
            raise NotFound(f"pods {name!r} not found", code=404) from None


@dataclass(frozen=True)
class CrashingStep:
    step: Step
    number: int

    async def do(self, entry: Entry) -> None:
        die_at("do", self.number)
        await self.step.do(entry)

    async def undo(self, entry: Entry) -> None:
        die_at("undo", self.number)
        await self.step.undo(entry)


class CrashingVeth(Veth):
    def steps(self, entry: Entry) -> tuple[Step, ...]:
        return tuple(CrashingStep(step, number) for number, step in enumerate(super().steps(entry)))


class CrashingPort(SwitchPort):
    async def do(self, entry: Entry) -> None:
        die_at("do", 3)
        await super().do(entry)

    async def wait(self, entry: Entry, patience: float) -> None:
        die_at("do", 4)
        await super().wait(entry, patience)

    async def undo(self, entry: Entry) -> None:
        die_at("undo", 3)
        await super().undo(entry)


async def play_ovn(vswitch: VSwitch) -> None:
    """Mark every claimed interface as installed, as ovn-controller does."""
    changed = asyncio.Event()
    vswitch.on_change(changed.set)
    while True:
        for name, interface in vswitch.interfaces().items():
            if IFACE_ID in interface.external_ids and not interface.installed:
                await vswitch.change_ids(name, put={"ovn-installed": "true"})
        await changed.wait()
        changed.clear()


async def main(namespace: str, state: Path) -> None:
    vswitch = await VSwitch.connect(f"unix:{state}/db.sock", "br-int")
    port = CrashingPort(vswitch)
    here = f"/run/netns/{namespace}"
    drivers = {"veth": CrashingVeth(here, lambda: vswitch.datapath == "netdev")}
    attacher = Attacher(
        Journal(state / "journal/attachments"), FilePods(state / "pods.json"), port, drivers, patience=PATIENCE
    )
    await tidy(attacher, port, here)
    async with asyncio.TaskGroup() as group:
        group.create_task(Server(attacher, state / "cni.sock").run())
        if OVN == "works":
            group.create_task(play_ovn(vswitch))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))

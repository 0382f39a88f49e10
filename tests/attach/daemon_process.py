"""The node daemon for tests: the product's own, in a given namespace; what differs is said by the environment.

``CRASH_AT=do:2`` or ``undo:1``: the process dies as by kill -9 before that step of a NIC, counted from 0.
``drain:3``: so before it takes that frame from a guest's queue.
``OVN=works``: interfaces that claim a port are marked as installed, as ovn-controller does; ``sleeps``: they are not;
``absent``: nobody waits for it. ``PATIENCE``: seconds that ADD waits.
``PODS``: a file that has the pods, in place of the API server. The node's name is its namespace's.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from virtnet.kube.errors import NotFound, Unavailable
from virtnet.node.asked import Asked
from virtnet.node.attach import Parts
from virtnet.node.daemon import Seam, Settings, run
from virtnet.node.journal import Entry, Journal
from virtnet.node.nics import Step
from virtnet.node.nics.veth import Veth
from virtnet.node.request import AttachmentId
from virtnet.node.switch import SwitchPort
from virtnet.node.taps import Tap
from virtnet.ovn.vswitch import IFACE_ID, VSwitch

AT, _, NUMBER = os.environ.get("CRASH_AT", "").partition(":")
PATIENCE = float(os.environ.get("PATIENCE", "10"))
OVN = os.environ.get("OVN", "works")
PODS = os.environ.get("PODS", "")
STEPS_OF_VETH = 3


def die_at(what: str, number: int) -> None:
    if what == AT and number == int(NUMBER):
        os.kill(os.getpid(), signal.SIGKILL)


class FilePods:
    def __init__(self, path: str) -> None:
        self._path = Path(path)

    async def pod(self, namespace: str, name: str) -> Mapping[str, Any]:
        pods = json.loads(self._path.read_text())
        if pods.get("unavailable"):
            raise Unavailable("connection refused")
        try:
            found: Mapping[str, Any] = pods[f"{namespace}/{name}"]
        except KeyError:
            raise NotFound(f"pods {name!r} not found", code=404) from None
        return found


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
    def plan(self, entry: Entry) -> tuple[Step, ...]:
        return tuple(CrashingStep(step, number) for number, step in enumerate(super().plan(entry)))


class CrashingPort(SwitchPort):
    async def do(self, entry: Entry) -> None:
        die_at("do", STEPS_OF_VETH)
        await super().do(entry)

    async def wait(self, entry: Entry, patience: float) -> None:
        die_at("do", STEPS_OF_VETH + 1)
        if OVN != "absent":
            await super().wait(entry, patience)

    async def undo(self, id_: AttachmentId) -> None:
        die_at("undo", STEPS_OF_VETH)
        await super().undo(id_)

    async def let_go(self, entry: Entry) -> None:
        die_at("release", 0)
        await super().let_go(entry)
        die_at("release", 1)


class CrashingJournal(Journal):
    async def remove(self, id_: AttachmentId) -> None:
        die_at("undo", STEPS_OF_VETH + 1)
        await super().remove(id_)

    async def write(self, entry: Entry) -> Entry:
        written = await super().write(entry)
        if entry.state == "Attached":
            die_at("do", STEPS_OF_VETH + 2)
        return written


class AsksAll(Asked):
    """A controller, where there is no API server, that has armed whatever comes."""

    def is_target(self, entry: Entry) -> bool:
        return True


def crash_in_drains() -> None:
    """Let no drain take more frames than it may."""
    take = Tap.take

    def taken(tap: Tap) -> Iterator[bytes]:
        frames = take(tap)
        for number in count():
            die_at("drain", number)
            frame = next(frames, None)
            if frame is None:
                return
            yield frame

    Tap.take = taken  # type: ignore[method-assign]


async def play_ovn(vswitch: VSwitch) -> None:
    """Mark every claimed interface as installed, as ovn-controller does."""
    changed = asyncio.Event()
    vswitch.on_change(changed.set)
    while True:
        for interface in vswitch.interfaces():
            if IFACE_ID in interface.external_ids and not interface.installed:
                await vswitch.change_ids(interface.name, put={"ovn-installed": "true"})
        await changed.wait()
        changed.clear()


def crashing(parts: Parts) -> Parts:
    """The daemon's parts, those that tests have a say in replaced."""
    port, veth = CrashingPort(parts.port._vswitch), parts.drivers["veth"]
    return replace(
        parts,
        pods=FilePods(PODS) if PODS else parts.pods,
        port=port,
        leftovers=replace(parts.leftovers, port=port),
        asked=AsksAll() if PODS else parts.asked,
        drivers={"veth": CrashingVeth(**vars(veth))},
    )


async def main(namespace: str, state: Path) -> None:
    settings = Settings(
        node=namespace,
        here=f"/run/netns/{namespace}",
        socket=state / "cni.sock",
        state_dir=state / "journal",
        ovsdb=f"unix:{state}/db.sock",
        ovn_run_dir=state,
        patience=PATIENCE,
        metrics_port=0,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(run(settings, Seam(journal=CrashingJournal, parts=crashing)))
        if OVN == "works":
            group.create_task(play_ovn(await VSwitch.connect(settings.ovsdb, settings.bridge)))


if __name__ == "__main__":
    crash_in_drains()
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))

"""The node daemon for tests: the product's own, in a given namespace; what differs is said by the environment.

``CRASH_AT=do:2`` or ``undo:1``: the process dies as by kill -9 before that step of a NIC, counted from 0.
``drain:3``: so before it takes that frame from a guest's queue; ``claim:0``: before OVN is to bind the NIC's port;
``attached:0``: before it is written down that a NIC is whole. A path: so before the step that the file names by then.
``OVN=works``: interfaces that claim a port are marked as installed, as ovn-controller does; ``sleeps``: they are not;
``absent``: nobody waits for it. ``PATIENCE``: seconds that ADD waits.
``COVERING_ONLY``: not empty: router messages are dropped by what attaching does, and by nothing that goes on beside it.
``MORE_KINDS``: not empty: the NIC kinds of tests/attach/more_kinds.py are served, too.
``MODELLED_VF``: the directory of one (tests.attach.modelled_vf), which the node has in place of the machine's.
``PODS``: a file that has the pods, in place of the API server. The node's name is its namespace's.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from tests.attach.modelled_vf import ModelledVf
from tests.attach.more_kinds import Geneve, Macvlan
from virtnet.api.nic_kinds import SERVED_NICS, SRIOV, SWITCHDEV, VETH, VHOSTUSER
from virtnet.kube.errors import NotFound, Unavailable
from virtnet.node.attach import Parts
from virtnet.node.daemon import NodeSettings, Seam, run
from virtnet.node.handoff.assignments import Assignments
from virtnet.node.handoff.taps import Tap
from virtnet.node.journal import Entry, Journal
from virtnet.node.nics import Driver, Drivers, Step
from virtnet.node.nics.sriov import Sriov
from virtnet.node.nics.switchdev import Switchdev
from virtnet.node.nics.veth import Veth
from virtnet.node.nics.vhostuser import VhostUser
from virtnet.node.orphans import Orphans
from virtnet.node.pods import Pods
from virtnet.node.request import AttachmentId
from virtnet.node.router_messages import RouterMessages
from virtnet.node.switch import SwitchPorts
from virtnet.ovn.vswitch import IFACE_ID, VSwitch

CRASH_AT = os.environ.get("CRASH_AT", "")
PATIENCE = float(os.environ.get("PATIENCE", "10"))
OVN = os.environ.get("OVN", "works")
PODS = os.environ.get("PODS", "")
COVERING_ONLY = bool(os.environ.get("COVERING_ONLY"))
MORE_KINDS = bool(os.environ.get("MORE_KINDS"))
MODELLED_VF = os.environ.get("MODELLED_VF", "")
STEPS_OF_VETH = 3


def die_at(what: str, number: int) -> None:
    point = Path(CRASH_AT).read_text() if CRASH_AT.startswith("/") else CRASH_AT
    if point == f"{what}:{number}":
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
    kind: str = ""

    async def do(self, entry: Entry) -> None:
        die_at(f"{self.kind}do", self.number)
        await self.step.do(entry)

    async def undo(self, entry: Entry) -> None:
        die_at(f"{self.kind}undo", self.number)
        await self.step.undo(entry)


class CrashingVeth(Veth):
    def plan(self, entry: Entry) -> tuple[Step, ...]:
        return crashing_steps(super().plan(entry))


class CrashingSwitchdev(Switchdev):
    def plan(self, entry: Entry) -> tuple[Step, ...]:
        return crashing_steps(super().plan(entry))


class CrashingVhostUser(VhostUser):
    def plan(self, entry: Entry) -> tuple[Step, ...]:
        return crashing_steps(super().plan(entry))


class CrashingSriov(Sriov):
    async def prepare(self, entry: Entry) -> Entry:
        prepared = await super().prepare(entry)
        die_at("found", 0)
        return prepared

    def plan(self, entry: Entry) -> tuple[Step, ...]:
        steps = super().plan(entry)
        return tuple(CrashingStep(step, number, "vf-") for number, step in enumerate(steps))


class CrashingMacvlan(Macvlan):
    def plan(self, entry: Entry) -> tuple[Step, ...]:
        return crashing_steps(super().plan(entry))


class CrashingGeneve(Geneve):
    def plan(self, entry: Entry) -> tuple[Step, ...]:
        return crashing_steps(super().plan(entry))


def crashing_steps(plan: tuple[Step, ...]) -> tuple[Step, ...]:
    return tuple(CrashingStep(step, number) for number, step in enumerate(plan))


class CrashingPorts(SwitchPorts):
    async def plug(self, entry: Entry, patience: float) -> None:
        die_at("do", STEPS_OF_VETH)
        await super().plug(entry, patience)

    async def claim(self, entry: Entry) -> None:
        die_at("claim", 0)
        await super().claim(entry)

    async def wait(self, entry: Entry, patience: float) -> None:
        die_at("do", STEPS_OF_VETH + 1)
        if OVN != "absent":
            await super().wait(entry, patience)

    async def undo(self, entry: Entry) -> None:
        die_at("undo", STEPS_OF_VETH)
        await super().undo(entry)

    async def let_go(self, entry: Entry) -> None:
        die_at("release", 0)
        await super().let_go(entry)
        die_at("release", 1)


class CoveringOnly(RouterMessages):
    """Has flows for a NIC when its port is about to be claimed, or never."""

    async def run(self) -> None:
        await asyncio.Event().wait()


class CrashingJournal(Journal):
    async def remove(self, id_: AttachmentId) -> None:
        die_at("undo", STEPS_OF_VETH + 1)
        await super().remove(id_)

    async def write(self, entry: Entry) -> Entry:
        if entry.state == "Attached":
            die_at("attached", 0)
        written = await super().write(entry)
        if entry.state == "Attached":
            die_at("do", STEPS_OF_VETH + 2)
        return written


def journal(directory: Path) -> Journal:
    return CrashingJournal(directory, (*SERVED_NICS, *(("macvlan", "geneve") if MORE_KINDS else ())))


class AllPodsAssigned(Assignments):
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

    Tap.take = taken  # type: ignore[method-assign, assignment]


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
    veth, sriov, switchdev, vhost_user = (parts.drivers.by_kind[kind] for kind in SERVED_NICS)
    assert isinstance(veth, Veth)
    assert isinstance(sriov, Sriov)
    assert isinstance(switchdev, Switchdev)
    assert isinstance(vhost_user, VhostUser)
    functions = ModelledVf(Path(MODELLED_VF)).functions(sriov.node.here) if MODELLED_VF else sriov.node
    kinds: dict[str, Driver] = {
        VETH: CrashingVeth(**vars(veth)),
        SRIOV: CrashingSriov(functions),
        SWITCHDEV: CrashingSwitchdev(functions),
        VHOSTUSER: CrashingVhostUser(**vars(vhost_user)),
    }
    if MORE_KINDS:
        kinds |= {"macvlan": CrashingMacvlan(veth.here), "geneve": CrashingGeneve()}
    drivers = Drivers(kinds)
    ports = CrashingPorts(parts.ports.vswitch, drivers)
    pods: Pods = FilePods(PODS) if PODS else parts.pods
    return replace(
        parts,
        pods=pods,
        ports=ports,
        drivers=drivers,
        orphans=Orphans(ports, drivers),
        reservations=replace(parts.reservations, drivers=drivers, pods=pods),
        router_messages=(CoveringOnly if COVERING_ONLY else RouterMessages)(
            ports.vswitch, parts.journal, drivers, parts.router_messages.bridge
        ),
        assignments=AllPodsAssigned() if PODS else parts.assignments,
    )


async def main(namespace: str, state: Path, parts: Callable[[Parts], Parts] = crashing) -> None:
    settings = NodeSettings(
        node=namespace,
        here=f"/run/netns/{namespace}",
        socket=state / "cni.sock",
        state_dir=state / "journal",
        ovsdb=f"unix:{state}/db.sock",
        ovn_run_dir=state,
        kubelet_dir=state / "kubelet",
        patience=PATIENCE,
        metrics_port=0,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(run(settings, Seam(journal=journal, parts=parts)))
        if OVN == "works":
            group.create_task(play_ovn(await VSwitch.connect(settings.ovsdb, settings.bridge)))


if __name__ == "__main__":
    crash_in_drains()
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))

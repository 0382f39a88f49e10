"""The node daemon for tests: its real parts, in a given namespace; what differs is said by the environment.

``CRASH_AT=do:2`` or ``undo:1``: the process dies as by kill -9 before that step of a NIC, counted from 0.
``drain:3``: so before it takes that frame from a guest's queue.
``OVN=works``: interfaces that claim a port are marked as installed, as ovn-controller does; ``sleeps``: they are not;
``absent``: nobody waits for it. ``PATIENCE``: seconds that ADD waits.
``KUBECONFIG``: pods and the NodeNetwork, named as the namespace, are the API server's. Else pods are those of a file, and there is no other.
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

from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound, Unavailable
from virtnet.node.announce import Announcer
from virtnet.node.attach import Attacher
from virtnet.node.daemon import parts_of
from virtnet.node.folder import when_free
from virtnet.node.gates import Gates
from virtnet.node.journal import Entry, Journal
from virtnet.node.leftovers import Leftovers
from virtnet.node.nics import Step
from virtnet.node.nics.veth import Veth
from virtnet.node.pods import ClusterPods, Pods
from virtnet.node.publish import OwnNodeNetwork
from virtnet.node.request import AttachmentId
from virtnet.node.server import Server
from virtnet.node.switch import SwitchPort
from virtnet.node.taps import Tap
from virtnet.node.tidy import Repair, tidy
from virtnet.node.tunnel import Tunnel
from virtnet.ovn.vswitch import IFACE_ID, VSwitch

AT, _, NUMBER = os.environ.get("CRASH_AT", "").partition(":")
PATIENCE = float(os.environ.get("PATIENCE", "10"))
OVN = os.environ.get("OVN", "works")
STEPS_OF_VETH = 3


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


async def main(namespace: str, state: Path) -> None:
    if "KUBECONFIG" in os.environ:
        async with await Cluster.connect() as cluster:
            await serve(namespace, state, ClusterPods(cluster), cluster)
    else:
        await serve(namespace, state, FilePods(state / "pods.json"), None)


async def serve(namespace: str, state: Path, pods: Pods, cluster: Cluster | None) -> None:
    vswitch = await VSwitch.connect(f"unix:{state}/db.sock", "br-int")
    here = f"/run/netns/{namespace}"
    gates = Gates(here)
    journal = await when_free(lambda: CrashingJournal(state / "journal/attachments"))
    port = CrashingPort(vswitch)
    parts = replace(
        parts_of(vswitch, journal, pods, gates, patience=PATIENCE),
        port=port,
        leftovers=Leftovers(port, here),
        drivers={"veth": CrashingVeth(here, lambda: vswitch.datapath == "netdev", gates, lambda: "")},
    )
    attacher = Attacher(parts)
    await tidy(attacher, parts)
    async with asyncio.TaskGroup() as group:
        group.create_task(Server(attacher, state / "cni.sock").run())
        group.create_task(Repair(attacher, parts, vswitch).run())
        if OVN == "works":
            group.create_task(play_ovn(vswitch))
        if cluster is not None:
            tunnel = Tunnel(cluster, namespace, vswitch, here)
            group.create_task(tunnel.run())
            announcer = Announcer(journal, vswitch, None)
            own = OwnNodeNetwork(
                cluster,
                namespace,
                attacher,
                vswitch,
                gates=gates,
                tunnel=tunnel,
                announcer=announcer,
                underlays=parts.underlays,
                ovn_run_dir=Path(os.environ["OVN_RUNDIR"]),
            )
            group.create_task(own.run())


if __name__ == "__main__":
    crash_in_drains()
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))

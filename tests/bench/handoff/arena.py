"""A lab with a VM that goes back and forth between two nodes, and a peer on a third that sees what that costs."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.handoff import rounds
from tests.bench.handoff.rounds import Round
from tests.bench.handoff.ways import Way
from virtnet.kube.kinds import PODS, VMIMS
from virtnet.lab import migrate
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import Demo, until
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.demo.probes import Probe, answers, tap_of
from virtnet.lab.lab import Lab

SETTLE_SECONDS = 1.5
"""How long is probed before and after a migration; the prober counts no probe of its last second as lost."""


@dataclass(frozen=True)
class Arena:
    """One VM and one peer on one network of a lab."""

    lab: Lab
    network: str
    """``blue`` is an overlay, ``lan`` a VLAN of the lab's physical network."""
    vhost_user: bool = False
    """Whether the VM's NIC is served by DPDK in the switch, and so has no tap."""

    @classmethod
    def prepared(cls, lab: Lab, network: str, *, vhost_user: bool = False) -> "Arena":
        """In a lab that runs, and has the network."""
        arena, demo = cls(lab, network, vhost_user), Demo(lab)
        # The VM is not bound to a node: it is to move. So the peer goes where neither it nor its target is.
        demo.apply(manifests.vm(arena.vm, network=network, vhost_user=vhost_user))
        home = until(lambda: demo.node_of(arena.vm), f"{arena.vm} running")
        peer = next(name for name, node in lab.nodes.items() if name != home and not (vhost_user and node.dpdk))
        demo.apply(manifests.probe(peer, name=arena.peer, network=network))
        until(lambda: demo.pod_runs(arena.peer), "the probe pod running")
        until(lambda: answers(lab, arena.pod, arena.address), f"{arena.vm} answering")
        return arena

    @property
    def vm(self) -> str:
        return f"app-{self.network}"

    @property
    def peer(self) -> str:
        return f"peer-{self.network}"

    @property
    def pod(self) -> str:
        return f"{NAMESPACE}/{self.peer}"

    @property
    def port(self) -> str:
        return f"{NAMESPACE}/{self.vm}.{self.network}"

    @property
    def address(self) -> str:
        return Demo(self.lab).pinned(self.vm)[0]

    def run(self, name: str, way: Way, count: int, interval_ms: float = 1) -> list[Round]:
        """Migrate some times, and say how each went."""
        print(f"\n{name}, a probe every {interval_ms:g} ms\n{rounds.HEAD}")
        controller = self.lab.daemon("controller")
        if way.controller:
            controller.start()
        else:
            controller.stop()
        found = []
        for number in range(count):
            found.append(self.round(way, interval_ms))
            print(rounds.line(number + 1, found[-1]), flush=True)
        return found

    def ends(self) -> tuple[str, str]:
        """The node where the VM is, and the other one that is not the peer's."""
        demo = Demo(self.lab)
        source, peer = demo.node_of(self.vm), (demo.get(PODS, self.peer) or {})["spec"]["nodeName"]
        return source, next(node for node in self.lab.nodes if node not in {source, peer})

    def round(self, way: Way, interval_ms: float) -> Round:
        """Migrate once, and see what the peer saw."""
        demo, (source, target) = Demo(self.lab), self.ends()
        icmp = Probe.start(self.lab, self.pod, "icmp", self.address, "--interval-ms", str(interval_ms))
        tcp = Probe.start(self.lab, self.pod, "tcp", self.address, "--port", "7")
        queues = Queues(self.lab)
        time.sleep(SETTLE_SECONDS)
        with ThreadPoolExecutor(1) as pool:
            moving = pool.submit(self.lab.ask, lambda cluster: migrate.migrate(cluster, self.vm, NAMESPACE, to=target))
            uid, pod = until(demo.target, "a target pod")
            way.armed(self, source, target, uid)
            frames = None if self.vhost_user else self._frames(pod)
            moving.result()
        way.done(self, target)
        time.sleep(SETTLE_SECONDS)
        seen, stream, first = icmp.stop(), tcp.stop(), frames.stop() if frames else None
        return Round.of(moved(self.lab, uid), seen, frames=first, stream=stream, dropped=queues.stop())

    def _frames(self, pod: str) -> Probe:
        """What the tap of a pod is given by the peer, and what its guest sends."""
        tap = until(lambda: tap_of(self.lab, pod), "the target's tap")
        near = Demo(self.lab).address_of_pod(self.peer)
        return Probe.start(self.lab, pod, "frames", "--interface", tap, "--source-ip", near)


def migrated(lab: Lab, vm: str, *, to: str = "", seconds: float = 180) -> str:
    """The UID of a migration, which has succeeded."""
    name = lab.ask(lambda cluster: migrate.migrate(cluster, vm, NAMESPACE, to=to, seconds=seconds))
    return str(lab.ask(lambda cluster: cluster.get(VMIMS, name, NAMESPACE))["metadata"]["uid"])


def moved(lab: Lab, migration: str) -> dict[str, Any]:
    """When a guest stopped and went on, by the UID of its migration."""
    found: dict[str, Any] = json.loads((lab.names.state / "migrations" / f"{migration}.json").read_text())
    return found


class Queues:
    """How much the taps of the lab's guests drop, from when this is made until it is stopped."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._look()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> int:
        self._end.set()
        self._thread.join()
        return sum(count - self._first.get(name, 0) for name, count in self._last.items())

    def _watch(self) -> None:
        while not self._end.wait(0.2):
            self._look()

    def _look(self) -> None:
        for pid_file in self._lab.names.state.glob("pods/*/qemu.pid"):
            pod = pid_file.parent.name
            try:
                lines = Path(f"/proc/{pid_file.read_text().split()[0]}/net/dev").read_text().splitlines()
            except (OSError, IndexError):
                continue  # it has ended, or is about to begin
            count = sum(int(line.split()[12]) for line in lines if line.lstrip().startswith("tap"))
            self._first.setdefault(pod, count)
            self._last[pod] = count

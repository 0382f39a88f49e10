"""What a live migration costs the network, in three ways, in the same lab and the same run:

    python tests/bench/handoff.py [--rounds ROUNDS]

- virtnet: what this repository does.
- rarp: OVN's own activation strategy, as Kube-OVN and Neutron use it: two chassis from the target pod's scheduling on,
  the target alone once the migration is reported done.
- switch_when_done: one chassis, which is switched when the migration is reported done.

In the last two virtnet's controller is stopped, and this program writes in its place. A VM goes back and forth between
two nodes; a pod on a third one sends an echo request each millisecond and holds a TCP stream that the guest sends back.
JSON goes to $BENCH_JSON, and all figures of each round beside it. Run it alone on the machine, as root.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.figures import merge
from virtnet.kube.kinds import PODS
from virtnet.lab import migrate, netns
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import Demo, until
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.demo.probes import Probe, answers
from virtnet.lab.lab import Lab, LabError

LAB = "benchhandoff"
PROBE = f"{NAMESPACE}/probe"
VM = "app"
PORT = f"{NAMESPACE}/{VM}.blue"
SETTLE_SECONDS = 1.5
"""How long is probed before and after a migration; the prober counts no probe of its last second as lost."""

ROUNDS = 20
NEVER_MS = 60_000.0
"""In place of a time that did not come while was looked."""


@dataclass(frozen=True)
class Round:
    """One migration. Times in milliseconds, the rest in probes or segments."""

    pause_ms: float
    gap_ms: float
    first_frame_ms: float
    """From the guest's RESUME to the first frame of the peer that was handed to its tap."""
    sent: int
    lost: int
    lost_before: int
    """Of these, sent before the guest stopped."""
    lost_at_commit: int
    """Of these, sent after one that was answered by the resumed guest."""
    duplicates: int
    dropped_by_guest: int
    """By the queues of both taps: the guest did not read fast enough. Counted among the lost."""
    tcp_survived: bool
    tcp_retransmits: int
    since_resume_ms: tuple[float, ...]
    """When the lost ones were sent."""


@dataclass(frozen=True)
class Bench:
    """A lab with one VM and one peer."""

    lab: Lab
    demo: Demo

    @classmethod
    def prepared(cls, lab: Lab) -> "Bench":
        demo = Demo(lab)
        lab.down()
        lab.up(nodes=3)
        # The VM is not bound to a node: it is to move. So the peer goes where neither it nor its target is.
        for body in (manifests.namespace(), manifests.subnet(), manifests.nad(), manifests.vm(VM)):
            demo.apply(body)
        home = until(lambda: demo.node_of(VM), f"{VM} running")
        demo.apply(manifests.probe(next(node for node in lab.nodes if node != home)))
        until(lambda: demo.pod_runs("probe"), "the probe pod running")
        bench = cls(lab, demo)
        until(lambda: answers(lab, PROBE, bench.address), f"{VM} answering")
        return bench

    @property
    def address(self) -> str:
        return self.demo.pinned(VM)[0]

    def round(self, way: "Way") -> Round:
        """Migrate once, and see what the peer saw."""
        source = self.demo.node_of(VM)
        peer = (self.demo.get(PODS, "probe") or {})["spec"]["nodeName"]
        target = next(node for node in self.lab.nodes if node not in {source, peer})
        icmp = Probe.start(self.lab, PROBE, "icmp", self.address, "--interval-ms", "1")
        tcp = Probe.start(self.lab, PROBE, "tcp", self.address, "--port", "7")
        queues = Queues(self.lab)
        time.sleep(SETTLE_SECONDS)
        with ThreadPoolExecutor(1) as pool:
            moving = pool.submit(self.lab.ask, lambda cluster: migrate.migrate(cluster, VM, NAMESPACE, to=target))
            uid, pod = until(self.demo.target, "a target pod")
            way.armed(self, source, target)
            tap = until(lambda: _tap(self.lab, pod), "the target's tap")
            frames = Probe.start(
                self.lab, pod, "frames", "--interface", tap, "--source-ip", self.demo.address_of_pod("probe")
            )
            moving.result()
        way.done(self, target)
        time.sleep(SETTLE_SECONDS)
        seen, stream, first = icmp.stop(), tcp.stop(), frames.stop()
        dropped = queues.stop()
        moved = json.loads((self.lab.names.state / "migrations" / f"{uid}.json").read_text())
        return _round(seen, stream, first["times"], dropped, moved)

    def nbctl(self, *words: str) -> None:
        database = f"--db=unix:{self.lab.names.central_state / 'nb.sock'}"
        subprocess.run(self.lab.command(["ovn-nbctl", database, *words]), check=True)

    def chassis(self, *nodes: str) -> str:
        return f'options:requested-chassis="{",".join(self.lab.nodes[node].names.chassis for node in nodes)}"'


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
            except OSError:
                continue  # it has ended
            count = sum(int(line.split()[12]) for line in lines if line.lstrip().startswith("tap"))
            self._first.setdefault(pod, count)
            self._last[pod] = count


def _round(
    seen: dict[str, Any], stream: dict[str, Any], frames: Sequence[float], dropped: int, moved: dict[str, Any]
) -> Round:
    stop, resume = moved["stop"], moved["resume"]
    lost = seen["lost_at"]
    missing = {round((moment - resume) * 1000) for moment in lost}
    # Probes are a millisecond apart: the first that is not among the lost was answered.
    answered = next(ms for ms in range(10**6) if ms not in missing)
    after = [moment for moment in frames if moment >= resume]
    return Round(
        pause_ms=moved["pause_ms"],
        gap_ms=seen["gap_ms"],
        first_frame_ms=(after[0] - resume) * 1000 if after else NEVER_MS,
        sent=seen["sent"],
        lost=seen["lost"],
        lost_before=sum(moment < stop for moment in lost),
        lost_at_commit=sum((moment - resume) * 1000 > answered for moment in lost),
        duplicates=seen["duplicates"],
        dropped_by_guest=dropped,
        tcp_survived=stream["survived"],
        tcp_retransmits=stream["retransmits"],
        since_resume_ms=tuple(round((moment - resume) * 1000, 1) for moment in lost),
    )


def _tap(lab: Lab, pod: str) -> str:
    """The tap of a launcher pod; empty while there is none."""
    try:
        links = json.loads(netns.run("ip", "-json", "link", netns=lab.pod_netns(pod)))
    except (netns.NetnsError, LabError):
        return ""
    return next((str(link["ifname"]) for link in links if link["ifname"].startswith("tap")), "")


class Way:
    """What virtnet does by itself."""

    def armed(self, bench: Bench, source: str, target: str) -> None:
        """The target pod has a node."""

    def done(self, bench: Bench, target: str) -> None:
        """The migration is reported done."""


class Rarp(Way):
    def armed(self, bench: Bench, source: str, target: str) -> None:
        both = bench.chassis(source, target)
        bench.nbctl("set", "Logical_Switch_Port", PORT, both, "options:activation-strategy=rarp")

    def done(self, bench: Bench, target: str) -> None:
        bench.nbctl(
            *("set", "Logical_Switch_Port", PORT, bench.chassis(target), "--"),
            *("remove", "Logical_Switch_Port", PORT, "options", "activation-strategy"),
        )


class SwitchWhenDone(Way):
    def armed(self, bench: Bench, source: str, target: str) -> None:
        """No port is bound on the target before the switch, so nobody can wait for that: say that it is."""
        vsctl = ("ovs-vsctl", f"--db={bench.lab.nodes[target].names.ovsdb}")
        claim = f'external_ids:iface-id="{PORT}"'

        def interface() -> str:
            command = [*vsctl, "--bare", "--columns=name", "find", "Interface", claim]
            names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            return names[-1] if names else ""

        name = until(interface, "the target's interface")
        subprocess.run([*vsctl, "set", "Interface", name, "external_ids:ovn-installed=true"], check=True)

    def done(self, bench: Bench, target: str) -> None:
        bench.nbctl("set", "Logical_Switch_Port", PORT, bench.chassis(target))


def summary(rounds: Sequence[Round]) -> dict[str, Any]:
    def spread(value: Callable[[Round], float], *percents: int) -> dict[str, float]:
        ordered = sorted(map(value, rounds))
        return {f"p{p}": round(ordered[min(len(ordered) - 1, len(ordered) * p // 100)], 3) for p in percents}

    def worst(value: Callable[[Round], float]) -> dict[str, float]:
        values = [value(one) for one in rounds]
        return {"p50": statistics.median(values), "max": max(values)}

    return {
        "rounds": len(rounds),
        "pause_ms": spread(lambda one: one.pause_ms, 50, 99),
        "gap_ms": spread(lambda one: one.gap_ms, 50, 99),
        "first_frame_ms": spread(lambda one: one.first_frame_ms, 50, 99),
        "lost": worst(lambda one: one.lost),
        "duplicates": worst(lambda one: one.duplicates),
        "lost_at_commit": sum(one.lost_at_commit for one in rounds),
        "lost_before": sum(one.lost_before for one in rounds),
        "dropped_by_guest": sum(one.dropped_by_guest for one in rounds),
        "tcp_resets": sum(not one.tcp_survived for one in rounds),
        "tcp_retransmits": worst(lambda one: one.tcp_retransmits),
    }


def run(bench: Bench, name: str, rounds: int) -> list[Round]:
    print(
        f"{name:18}{'pause':>8}{'gap':>8}{'first':>8}{'lost':>6}{'before':>8}{'commit':>8}{'twice':>7}{'slow':>6}{'retrans':>9}"
    )
    controller = bench.lab.daemon("controller")
    if name == "virtnet":
        controller.start()
    else:
        controller.stop()
    way = {"virtnet": Way, "rarp": Rarp, "switch_when_done": SwitchWhenDone}[name]()
    found = []
    for number in range(rounds):
        one = bench.round(way)
        found.append(one)
        print(
            f"{number + 1:<18}{one.pause_ms:8.1f}{one.gap_ms:8.1f}{one.first_frame_ms:8.2f}{one.lost:6}"
            f"{one.lost_before:8}{one.lost_at_commit:8}{one.duplicates:7}{one.dropped_by_guest:6}{one.tcp_retransmits:9}"
            f"{'' if one.tcp_survived else '  stream broken'}",
            flush=True,
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS", ROUNDS)), help="of each way")
    parser.add_argument("--ways", nargs="+", default=["virtnet", "rarp", "switch_when_done"])
    parser.add_argument("--lab", default=LAB)
    chosen = parser.parse_args()
    lab = Lab(chosen.lab)
    try:
        bench = Bench.prepared(lab)
        rounds = {name: run(bench, name, chosen.rounds) for name in chosen.ways}
    finally:
        if not os.environ.get("BENCH_KEEP"):
            lab.down()
    ways = {name: summary(found) for name, found in rounds.items()}
    print(json.dumps(ways, indent=2))
    if path := os.environ.get("BENCH_JSON"):
        merge(Path(path), dict(flat("ways", ways)))
        every = {name: [asdict(one) for one in found] for name, found in rounds.items()}
        Path(path).with_suffix(".rounds.json").write_text(json.dumps(every))


def flat(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """Figures by their dotted names."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from flat(f"{name}.{key}", part)
    else:
        yield name, value


if __name__ == "__main__":
    main()

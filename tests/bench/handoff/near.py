"""What peers see of migrations that are on the guest's old node, on its new one, and on neither."""

import time

from tests.bench.handoff import rounds
from tests.bench.handoff.arena import SETTLE_SECONDS, Arena, Queues, migrated, moved
from tests.bench.handoff.rounds import Round
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import Demo, until
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.demo.probes import Probe, answers

INTERVAL_MS = 2
"""Of each: together they are no more than the guest can answer."""


def near(arena: Arena, count: int) -> dict[str, list[Round]]:
    """Migrate some times; what each of the three saw, by its place."""
    print(f"\na peer on every node, each with a probe every {INTERVAL_MS} ms\n{rounds.HEAD}")
    demo, peers = Demo(arena.lab), {node: f"near-{node}" for node in arena.lab.nodes}
    for node, peer in peers.items():
        demo.apply(manifests.probe(node, name=peer, network=arena.network))
    for peer in peers.values():
        until(lambda peer=peer: demo.pod_runs(peer), f"{peer} running")  # type: ignore[misc]  # mypy knows no lambda with a default
        until(lambda peer=peer: answers(arena.lab, f"{NAMESPACE}/{peer}", arena.address), f"{peer} answered")  # type: ignore[misc]
    found: dict[str, list[Round]] = {"source": [], "target": [], "third": []}
    for _ in range(count):
        for place, one in _round(arena, peers).items():
            found[place].append(one)
            print(rounds.line(place, one), flush=True)
    for peer in peers.values():
        demo.delete_pod(peer)
    return found


def _round(arena: Arena, peers: dict[str, str]) -> dict[str, Round]:
    source, target = arena.ends()
    interval = ("--interval-ms", str(INTERVAL_MS))
    probes = {
        node: Probe.start(arena.lab, f"{NAMESPACE}/{peer}", "icmp", arena.address, *interval)
        for node, peer in peers.items()
    }
    queues = Queues(arena.lab)
    time.sleep(SETTLE_SECONDS)
    uid = migrated(arena.lab, arena.vm, to=target)
    time.sleep(SETTLE_SECONDS)
    seen = {node: probe.stop() for node, probe in probes.items()}
    dropped, places = queues.stop(), {source: "source", target: "target"}
    return {
        places.get(node, "third"): Round.of(moved(arena.lab, uid), one, dropped=dropped) for node, one in seen.items()
    }

"""Many migrations at once, of VMs that one peer probes all the time."""

import time
from concurrent.futures import ThreadPoolExecutor

from tests.bench.handoff import rounds
from tests.bench.handoff.arena import SETTLE_SECONDS, Queues, migrated, moved
from tests.bench.handoff.rounds import Round
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import Demo, until
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.demo.probes import Probe, answers
from virtnet.lab.lab import Lab

PEER = "peer-crowd"
INTERVAL_MS = 50
MIGRATION_SECONDS = 600


def crowd(lab: Lab, size: int) -> list[Round]:
    """Start VMs, migrate all of them at the same moment, and say how each went. They are deleted at the end."""
    print(f"\n{size} at once, a probe to each every {INTERVAL_MS} ms\n{rounds.HEAD}")
    demo, names = Demo(lab), [f"crowd{number}" for number in range(size)]
    demo.apply(manifests.probe(next(iter(lab.nodes)), name=PEER))
    for name in names:
        demo.apply(manifests.vm(name))
    until(lambda: demo.pod_runs(PEER), "the probe pod running")
    addresses = {name: demo.pinned(name)[0] for name in names}
    for name, address in addresses.items():
        until(lambda address=address: answers(lab, f"{NAMESPACE}/{PEER}", address), f"{name} answering", 600)  # type: ignore[misc]
    probes = {
        name: Probe.start(lab, f"{NAMESPACE}/{PEER}", "icmp", address, "--interval-ms", str(INTERVAL_MS))
        for name, address in addresses.items()
    }
    queues = Queues(lab)
    time.sleep(SETTLE_SECONDS)
    with ThreadPoolExecutor(size) as pool:
        uids = dict(
            zip(names, pool.map(lambda name: migrated(lab, name, seconds=MIGRATION_SECONDS), names), strict=True)
        )
    time.sleep(SETTLE_SECONDS)
    found = [Round.of(moved(lab, uids[name]), probe.stop()) for name, probe in probes.items()]
    print(*(rounds.line(name, one) for name, one in zip(names, found, strict=True)), sep="\n")
    print(f"dropped by the queues of all guests: {queues.stop()}")
    demo.delete_vms(*names)
    demo.delete_pod(PEER)
    return found

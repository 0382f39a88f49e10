"""Migrations under a peer that sends as many datagrams a second as it is told to, which the guest's kernel counts.

The counter goes with the guest's memory, so what a migration has lost is what was sent less what was counted. (A frame
that came twice would be counted twice.) Echoes at such rates are more than an emulated guest can answer.
"""

import socket
import statistics
import time
from dataclasses import dataclass

from tests.bench.handoff.arena import SETTLE_SECONDS, Arena, Queues, migrated, moved
from virtnet.api import Port
from virtnet.api.port import HandoffRecord
from virtnet.kube import kinds
from virtnet.lab import netns
from virtnet.lab.demo.cluster import until
from virtnet.lab.demo.probes import Probe

STEP = 500
COUNTERS_PORT = 12
"""Where the lab's guest says what it has counted."""


@dataclass(frozen=True)
class Flood:
    """One migration, in datagrams."""

    pause_ms: float
    sent: int
    lost: int
    carried: int
    """From the source's queue to the target."""
    dropped: int
    """By the queues of both taps, which were full. Some of these the other one got."""

    @property
    def otherwise(self) -> int:
        """At least so many were lost in another way."""
        return max(0, self.lost - self.dropped)


def flood(arena: Arena, rate: int, count: int) -> dict[str, float]:
    """Figures by their dotted names, of some migrations."""
    print(f"\n{rate} datagrams a second\n{'':18}{'pause':>8}{'sent':>8}{'lost':>8}{'carried':>9}{'dropped':>9}")
    found = []
    for number in range(count):
        one = _round(arena, rate)
        found.append(one)
        print(f"{number + 1:<18}{one.pause_ms:8.1f}{one.sent:8}{one.lost:8}{one.carried:9}{one.dropped:9}", flush=True)
    return {
        f"rate.{rate}.rounds": count,
        f"rate.{rate}.lost.p50": statistics.median(one.lost for one in found),
        f"rate.{rate}.lost.max": max(one.lost for one in found),
        f"rate.{rate}.lost_but_not_by_full_queues.p50": statistics.median(one.otherwise for one in found),
        f"rate.{rate}.lost_but_not_by_full_queues.max": max(one.otherwise for one in found),
        f"rate.{rate}.carried.p50": statistics.median(one.carried for one in found),
        f"rate.{rate}.carried.max": max(one.carried for one in found),
    }


def line_rate(arena: Arena) -> int:
    """The most datagrams a second, in steps, of which the guest reads every one while nothing migrates."""
    rate = STEP
    while _without_migration(arena, rate + STEP) == 0:
        rate += STEP
    return rate


def _without_migration(arena: Arena, rate: int) -> int:
    """How many were lost."""
    before = _counted(arena)
    sender = _sender(arena, rate)
    time.sleep(2 * SETTLE_SECONDS)
    sent = int(sender.stop()["sent"])
    return sent - (_settled(arena) - before)


def _sender(arena: Arena, rate: int) -> Probe:
    return Probe.start(arena.lab, arena.pod, "udp", arena.address, "--interval-ms", str(1000 / rate))


def _round(arena: Arena, rate: int) -> Flood:
    lab, (_, target) = arena.lab, arena.ends()
    before, queues = _counted(arena), Queues(lab)
    sender = _sender(arena, rate)
    time.sleep(SETTLE_SECONDS)
    uid = migrated(lab, arena.vm, to=target)
    time.sleep(SETTLE_SECONDS)
    sent = sender.stop()["sent"]
    counted = _settled(arena) - before
    dropped = queues.stop()
    return Flood(moved(lab, uid)["pause_ms"], sent, sent - counted, _carried(arena, uid), dropped)


def _settled(arena: Arena) -> int:
    """What the guest has counted when it has read all that waits for it."""
    found = [-1]

    def same() -> bool:
        found.append(_counted(arena))
        return found[-1] == found[-2]

    until(same, "the guest has read its queue")
    return found[-1]


def _counted(arena: Arena) -> int:
    """Datagrams to ports where nobody listens."""

    def ask() -> str:
        with socket.create_connection((arena.address, COUNTERS_PORT), timeout=15) as link:
            return link.makefile().read()

    lines = [line.split() for line in netns.inside(arena.lab.pod_netns(arena.pod), ask).splitlines()]
    names, values = (line[1:] for line in lines if line[0] == "Udp:")
    return int(dict(zip(names, values, strict=True))["NoPorts"])


def _carried(arena: Arena, migration: str) -> int:
    """What the Port says of the handoff when it has ended."""
    namespace, _, name = arena.port.partition("/")

    def ended() -> HandoffRecord | None:
        port = Port.model_validate(arena.lab.ask(lambda cluster: cluster.get(kinds.of(Port), name, namespace)))
        return next((one for one in port.status.handoffs if one.migration == migration and one.finished_at), None)

    return until(ended, "the handoff's end").forwarded_frames or 0

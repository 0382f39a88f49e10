"""The plan: which fault happens when, to whom. Made from a seed alone, so that it can be played again. Pure."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

VMS = ("one", "two", "three")
NODES = ("node1", "node2", "node3")
CENTRAL = ("controller", "standby", "webhook", "northd", "nb", "sb", "apiserver", "etcd", "standin")
ON_NODES = ("virtnet", "ovn-controller", "ovsdb-server", "ovs-vswitchd")
NETWORKS = ("management", "tunnels")

DAEMONS = (*CENTRAL, *(f"{node}/{daemon}" for node in NODES for daemon in ON_NODES))

KINDS = {
    "migrate": 10,
    "kill": 7,
    "pause": 4,
    "restart": 3,
    "cut": 3,
    "abort": 3,
    "delete-target": 2,
    "delete-port": 2,
    "delete-row": 2,
    "delete-node": 1,
    "delete-switch": 1,
    "crash-node": 1,
    "depose": 1,
    "crash-guest": 1,
    "halt": 1,
    "replace": 1,
}
"""What can happen, and how often beside the others. Migrations are no faults, but what the faults are to hit."""

BATCH = 10
"""How many faults come together, unless one asks for more."""
SPREAD = 6.0
"""Seconds over which the faults of a batch are spread."""
LONGEST = 3.0
"""Seconds that a process is away or stopped, or a link is down, at the most."""


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that happens."""

    at: float
    """Seconds after its batch has begun."""
    kind: str
    victim: str
    """A daemon, a VM, a node, or ``node/network``."""
    seconds: float = 0.0

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at:4.1f} s  {self.kind} {self.victim}{lasting}"


def batches(seed: int, faults: int, together: int = BATCH) -> Iterator[list[Fault]]:
    """Batches of faults, in time order. Each begins with a migration: there is something to hit."""
    dice = random.Random(seed)
    while faults > 0:
        size = min(together, faults)
        first = Fault(0.0, "migrate", dice.choice(VMS))
        yield sorted([first, *(_fault(dice) for _ in range(size - 1))])
        faults -= size


def _fault(dice: random.Random) -> Fault:
    (kind,) = dice.choices(list(KINDS), list(KINDS.values()))
    at, seconds = round(dice.uniform(0.2, SPREAD), 1), round(dice.uniform(0.0, LONGEST), 1)
    match kind:
        case "kill" | "pause" | "restart":
            return Fault(at, kind, dice.choice(DAEMONS), seconds)
        case "cut":
            return Fault(at, kind, f"{dice.choice(NODES)}/{dice.choice(NETWORKS)}", seconds)
        case "crash-node":
            return Fault(at, kind, dice.choice(NODES), seconds)
        case "delete-node":
            return Fault(at, kind, dice.choice(NODES))
        case "depose":
            return Fault(at, kind, "controller")
        case "delete-switch":
            return Fault(at, kind, "blue")
        case _:
            return Fault(at, kind, dice.choice(VMS))

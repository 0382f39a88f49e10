"""``python -m virtnet.lab.chaos --seed N --faults N``: random faults, and what must hold after each batch.

Exits 1 at the first batch after which something does not hold, with the line that plays the same plan again and the
place where all logs are; 2 where another run has the lab.
"""

import argparse
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from virtnet.lab.alone import InUse, alone
from virtnet.lab.chaos import plan
from virtnet.lab.chaos.arena import Arena
from virtnet.lab.chaos.faults import Faults
from virtnet.lab.chaos.invariants import violations
from virtnet.lab.chaos.tenant import Tenant
from virtnet.lab.demo.cluster import NotInTime
from virtnet.lab.lab import Lab

SETTLE_SECONDS = 60.0
"""How long after the last fault everything must hold at the latest: leases that nobody bound expire after that."""
EXTRA_SECONDS = 30.0


@dataclass(frozen=True)
class Options:
    """Of one run."""

    seed: int
    faults: int
    batch: int
    seconds: float
    lab: str
    keep: bool

    @property
    def replay(self) -> str:
        return f"make chaos SEED={self.seed} FAULTS={self.faults} BATCH={self.batch}"


def run(options: Options) -> int:
    """The exit code. Raises InUse."""
    with alone(options.lab):
        print(f"chaos: {options.replay}", flush=True)
        lab = Lab(options.lab)
        lab.down()
        lab.up(len(plan.NODES))
        failed = True
        try:
            failed = not _play(Arena(lab), options)
        finally:
            if failed:
                print(f"logs: {_kept(lab.names.state, options.seed)}", flush=True)
            if not (failed and options.keep):
                lab.down()
        return 1 if failed else 0


def _kept(state: Path, seed: int) -> Path:
    """Where the logs of a lab are to be found when it is down: the same plan may end well the next time."""
    kept = Path(tempfile.gettempdir()) / f"virtnet-chaos-{seed}"
    shutil.rmtree(kept, ignore_errors=True)
    for log in state.rglob("*.log"):
        copy = kept / log.relative_to(state)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, copy)
    return kept


def _play(arena: Arena, options: Options) -> bool:
    """Whether all held."""
    arena.furnish()
    tenant = Tenant(arena.lab, random.Random(options.seed), "blue")
    tenant.furnish()
    began, done = time.monotonic(), 0
    if wrong := _settle(arena):
        return _violated(options, 0, [], wrong)
    faults = Faults(arena)
    for number, batch in enumerate(plan.batches(options.seed, options.faults, options.batch), start=1):
        if time.monotonic() - began > options.seconds:
            print(f"chaos: {options.seconds:.0f} s are over")
            break
        with tenant.acting(arena.addresses()):
            faults.play(batch)
        played = time.monotonic()
        wrong = [*tenant.taken, *_settle(arena)]
        done += len(batch)
        if wrong:
            return _violated(options, number, batch, wrong)
        print(f"chaos: {done} faults, all well {time.monotonic() - played:.1f} s after the last", flush=True)
    phases = list(arena.migrations.values())
    ended = {phase: phases.count(phase) for phase in sorted(set(phases))}
    print(f"chaos: the other tenant did {tenant.done} things and was refused {tenant.refused}")
    print(f"chaos: {done} faults in {time.monotonic() - began:.0f} s, seed {options.seed}; migrations seen: {ended}")
    print("chaos: nothing lost, leaked or doubled")
    return True


def _settle(arena: Arena) -> list[str]:
    """What does not come to hold."""
    try:
        arena.mend()
    except NotInTime as problem:
        return [str(problem), *violations(arena)]
    end = time.monotonic() + SETTLE_SECONDS + EXTRA_SECONDS
    while wrong := violations(arena):
        if time.monotonic() > end:
            return wrong
        time.sleep(0.3)
    return []


def _violated(options: Options, number: int, batch: list[plan.Fault], wrong: list[str]) -> bool:
    print(f"chaos: after batch {number}:")
    for fault in batch:
        print(f"  {fault}")
    for sentence in wrong:
        print(f"VIOLATION: {sentence}")
    print(f"replay: {options.replay}", flush=True)
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="virtnet.lab.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=plan.BATCH, help="how many come within six seconds")
    parser.add_argument("--seconds", type=float, default=3600, help="begin no further batch after so long")
    parser.add_argument("--lab", default="chaos", help="the lab's name; one of this name is taken down first")
    parser.add_argument("--keep", action="store_true", help="leave the lab up when something does not hold")
    parser.add_argument("--plan", action="store_true", help="print the plan and do nothing")
    chosen = vars(parser.parse_args(arguments))
    if chosen.pop("plan"):
        for batch in plan.batches(chosen["seed"], chosen["faults"], chosen["batch"]):
            print(*batch, sep="\n")
        return 0
    try:
        return run(Options(**chosen))
    except InUse as problem:
        print(f"chaos: {problem}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

"""What a port's chassis options must be now, decided from facts alone.

Level-triggered: every call looks at what is there, so a repeated, late or lost event changes nothing. The only thing
remembered is the journal, which is itself one of the facts. See docs/handoff.md for the picture.
"""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from virtnet.handoff.facts import Facts, Instance, LauncherPod, Migration
from virtnet.handoff.journal import Journal, State
from virtnet.handoff.options import ChassisOptions

RELEASE_TIMEOUT = timedelta(seconds=2)
"""How long the source may take to let go before the target becomes the only chassis anyway: its node may be dead."""

SETTLE_TIMEOUT = timedelta(seconds=10)
"""How long a chassis that is to leave is waited for: one that is dead never takes itself off the binding."""

SILENT_AFTER = timedelta(seconds=5)
"""How long a guest that is said to run may answer nothing, until people are told and the handoff ends."""

STUCK_AFTER = timedelta(seconds=30)
"""How long one thing may be waited for until people are told; none takes more than seconds where all is well."""

STRATEGY = "rarp"
"""The guest on the target stays cut off until QEMU announces it; the one strategy that every supported OVN knows.

One that an OVN does not know blocks nothing there. It is for targets without a gate, which is faster and loses less.
"""


class Outcome(enum.StrEnum):
    """How a handoff ended."""

    COMMITTED = "Committed"
    ROLLED_BACK = "RolledBack"
    ABANDONED = "Abandoned"
    """The instance is gone; there is nothing left to hand over."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What must be true now."""

    options: ChassisOptions
    """What the port must have. Equal to what it has when nothing is to be written."""
    release: str = ""
    """The node that must let go of the port."""
    wait: str = ""
    """What the handoff waits for, for people."""
    patient: bool = False
    """Whether that may take as long as it likes, as the copying of a guest's memory; else it is stuck after a while."""
    again: timedelta | None = None
    """Look again after this time even if nothing happens."""
    evict: frozenset[str] = frozenset()
    """Chassis that have the port though nobody wants them to, and that OVN does not take off by itself."""
    ended: tuple[Outcome, Journal] | None = None
    """A handoff that ends with this decision; to be reported before the options are written and the journal is gone."""


def decide(facts: Facts) -> Decision:
    """The decision for one port."""
    journal = Journal.read(facts.options.journal)
    if journal is None:
        return _single(facts)
    if facts.instance is None or facts.instance.uid != journal.instance or facts.instance.final:
        return replace(_single(facts), ended=(Outcome.ABANDONED, journal))
    return _STEPS[journal.state](facts, _observe(facts, journal))


def _single(facts: Facts) -> Decision:
    """One chassis or none: where the guest is, or will be; armed if a migration has a place to go to."""
    home = _gone_for_good(facts) or home_of(facts.instance, facts.pods, facts.migrations)
    if home is None:
        return Decision(options=ChassisOptions())
    if home.node not in facts.chassis:
        # What stands stays: with no chassis requested, any that has the interface could take the port.
        stands = ChassisOptions(requested=facts.options.requested)
        wait = f"node {home.node} has no chassis; is virtnet-node running there?"
        return Decision(options=stands, wait=wait, patient=_target(facts, home) is None)
    here = ChassisOptions(requested=(facts.chassis[home.node],))
    target = _target(facts, home)
    if target is None or facts.instance is None or facts.instance.final:
        # One that died while it was additional is not taken off, not even by itself when it comes back.
        quiet = facts.options == here and not facts.binding.requested_additional
        return Decision(options=here, evict=facts.binding.additional if quiet else frozenset())
    if target.node not in facts.chassis:
        return Decision(options=here, wait=f"node {target.node} has no chassis; is virtnet-node running there?")
    binding = facts.binding
    if facts.options != here or binding.requested_additional or binding.activated:
        # Arming over the remains of an earlier handoff would start the target unblocked (northd keeps the flag).
        return Decision(options=here, wait="OVN to finish the previous handoff")
    journal = Journal(
        instance=facts.instance.uid,
        migration=target.migration,
        source=home.node,
        target=target.node,
        source_chassis=facts.chassis[home.node],
        target_chassis=facts.chassis[target.node],
        state=State.ARMED,
        since=facts.now,
        armed=facts.now,
        gateless=facts.gateless.get(target.node, ""),
    )
    strategy = STRATEGY if journal.gateless else ""
    return Decision(options=_both(journal, strategy), wait=f"OVN to bind the port on {target.node} too")


def home_of(
    instance: Instance | None, pods: Iterable[LauncherPod], migrations: Iterable[Migration]
) -> LauncherPod | None:
    """The pod that has the guest: on the instance's node, or, while it starts, one that is no migration's target."""
    live = [pod for pod in pods if pod.node and not pod.terminal]
    if instance is not None and instance.state.domain_ready:
        # KubeVirt moves nodeName on a tenth of a second after the guest, and later than a handoff takes.
        arrived = next((pod for pod in live if pod.migration == instance.state.uid), None)
        if arrived is not None:
            return arrived
    if instance is not None and instance.node:
        return next((pod for pod in live if pod.node == instance.node), None)
    running = [m.uid for m in migrations if not m.final]
    return next((pod for pod in live if pod.migration not in running), None)


def _gone_for_good(facts: Facts) -> LauncherPod | None:
    """Where a post-copy migration has begun to run the guest: should the database be lost then, there is no source."""
    state = facts.instance.state if facts.instance else None
    return next((pod for pod in facts.live if state and state.post_copy and pod.migration == state.uid), None)


def _target(facts: Facts, home: LauncherPod) -> LauncherPod | None:
    """The pod that the guest will move to. The VMIM's phase is not waited for: CNI ADD comes before it moves on."""
    running = [m.uid for m in facts.migrations if not m.final and not facts.state(m.uid).failed]
    return next(
        (pod for pod in facts.live if pod.migration in running and not pod.deleting and pod.node != home.node), None
    )


def _both(journal: Journal, strategy: str) -> ChassisOptions:
    return ChassisOptions(
        requested=(journal.source_chassis, journal.target_chassis), strategy=strategy, journal=journal.entries()
    )


def _observe(facts: Facts, journal: Journal) -> Journal:
    """The journal with the times of what is seen for the first time."""
    binding, target = facts.binding, journal.target_chassis
    seen = {
        "bound": target in binding.additional or target == binding.chassis,
        "activated": target in binding.activated or journal.migration in facts.opened,
        "ready": _runs_on_target(facts, journal),
        "asked": journal.migration in facts.asked,
        "answered": journal.migration in facts.answered,
    }
    times = {name: facts.now for name, now in seen.items() if now and getattr(journal, name) is None}
    return replace(journal, **times)  # type: ignore[arg-type]  # the names are those of the times


def _runs_on_target(facts: Facts, journal: Journal) -> bool:
    """Whether the guest certainly runs on the target; then it never goes back.

    Another migration may have brought it: one to the same node, begun and done while nobody led.
    """
    home = home_of(facts.instance, facts.pods, facts.migrations)
    moved = facts.instance is not None and facts.instance.node == journal.target
    return moved or facts.state(journal.migration).domain_ready or (home is not None and home.node == journal.target)


def _no_way_back(facts: Facts, journal: Journal) -> bool:
    """Whether the source has stopped for good, in post-copy, though nobody has said yet that the guest runs."""
    gone = _gone_for_good(facts)
    return facts.state(journal.migration).post_copy or (gone is not None and gone.node == journal.target)


def _cannot_arrive(facts: Facts, journal: Journal) -> str:
    """Why this migration will not bring the guest to the target; empty while it may. A missing VMIM says nothing.

    Nor does a failed one while the VMI, once it was handed off, does not say so: it may have more to say by then.
    """
    migration, state = facts.migration(journal.migration), facts.state(journal.migration)
    pod = facts.target_pod(journal.migration)
    given_up = pod is not None and pod.deleting and migration is None
    handed_off = facts.instance is not None and facts.instance.state.uid == journal.migration
    if _no_way_back(facts, journal):
        return ""
    if state.failed or (migration is not None and migration.phase == "Failed" and not handed_off):
        return "the migration failed"
    if pod is None or pod.terminal or given_up:
        return "the target pod is gone"
    return ""


def _armed(facts: Facts, journal: Journal) -> Decision:
    if _runs_on_target(facts, journal):
        # Without an announcement the target is still cut off: it must not stay so while the source lets go.
        strategy = facts.options.strategy if journal.activated else ""
        releasing = journal.enter(State.RELEASING, facts.now)
        return Decision(
            options=_both(releasing, strategy),
            release=journal.source,
            wait=f"{journal.source} to let go",
            again=RELEASE_TIMEOUT,
        )
    reason = _cannot_arrive(facts, journal)
    if reason:
        back = journal.enter(State.ROLLING_BACK, facts.now)
        return Decision(
            options=ChassisOptions(requested=(journal.source_chassis,), journal=back.entries()),
            wait=f"OVN to leave {journal.target}, because {reason}",
        )
    return Decision(
        options=_both(journal, facts.options.strategy),
        wait=_waiting(facts, journal),
        patient=journal.bound is not None and not _no_way_back(facts, journal),
    )


def _waiting(facts: Facts, journal: Journal) -> str:
    if journal.target_chassis not in facts.binding.requested_additional and journal.bound is None:
        return f"OVN to know chassis {journal.target_chassis} of {journal.target}; is ovn-controller running there?"
    if journal.bound is None:
        return f"OVN to bind the port on {journal.target} too"
    if _no_way_back(facts, journal):
        return f"the guest, which left {journal.source} for good (post-copy), to run on {journal.target} or to fail"
    return f"the guest to run on {journal.target}"


def _releasing(facts: Facts, journal: Journal) -> Decision:
    released = facts.binding.chassis != journal.source_chassis
    late = facts.now - journal.since >= RELEASE_TIMEOUT
    if not released and not late:
        strategy = facts.options.strategy if journal.activated else ""
        remaining = RELEASE_TIMEOUT - (facts.now - journal.since)
        return Decision(
            options=_both(journal, strategy),
            release=journal.source,
            wait=f"{journal.source} to let go",
            again=remaining,
        )
    committing = journal.enter(State.COMMITTING, facts.now)
    return Decision(
        options=ChassisOptions(requested=(journal.target_chassis,), journal=committing.entries()),
        release=journal.source,
        wait=f"OVN to bind the port on {journal.target} alone",
    )


def _settled(facts: Facts, journal: Journal, chassis: str) -> bool:
    binding = facts.binding
    left = not binding.additional or facts.now - journal.since >= SETTLE_TIMEOUT
    return binding.chassis == chassis and left and not (binding.requested_additional or binding.activated)


def _committing(facts: Facts, journal: Journal) -> Decision:
    alone = (journal.target_chassis,)
    if _settled(facts, journal, journal.target_chassis):
        return _arrived(facts, replace(journal, settled=journal.settled or facts.now))
    return Decision(
        options=ChassisOptions(requested=alone, journal=journal.entries()),
        release=journal.source,
        wait=f"OVN to bind the port on {journal.target} alone",
        again=SETTLE_TIMEOUT,
    )


def _arrived(facts: Facts, journal: Journal) -> Decision:
    """The port has arrived; the end, unless the guest has yet to show that it has, too."""
    alone, waited = (journal.target_chassis,), facts.now - (journal.settled or facts.now)
    if not journal.silent or waited >= SILENT_AFTER:
        return Decision(options=ChassisOptions(requested=alone), ended=(Outcome.COMMITTED, journal))
    return Decision(
        options=ChassisOptions(requested=alone, journal=journal.entries()),
        release=journal.source,
        wait=f"the guest to answer on {journal.target}",
        again=SILENT_AFTER - waited,
    )


def _rolling_back(facts: Facts, journal: Journal) -> Decision:
    if _runs_on_target(facts, journal) or _no_way_back(facts, journal):
        # What was seen late turns it round: the guest runs there, whatever a failure seen earlier let us think.
        return _committing(facts, journal.enter(State.COMMITTING, facts.now))
    alone = (journal.source_chassis,)
    if _settled(facts, journal, journal.source_chassis):
        return Decision(options=ChassisOptions(requested=alone), ended=(Outcome.ROLLED_BACK, journal))
    return Decision(
        options=ChassisOptions(requested=alone, journal=journal.entries()),
        wait=f"OVN to leave {journal.target}",
        again=SETTLE_TIMEOUT,
    )


_STEPS: dict[State, Callable[[Facts, Journal], Decision]] = {
    State.ARMED: _armed,
    State.RELEASING: _releasing,
    State.COMMITTING: _committing,
    State.ROLLING_BACK: _rolling_back,
}

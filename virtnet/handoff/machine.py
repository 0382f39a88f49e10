"""What a port's chassis options must be now, decided from facts alone.

Level-triggered: every call looks at what is there, so a repeated, late or lost event changes nothing. The only thing
remembered is the journal, which is itself one of the facts. See docs/handoff.md for the picture.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from virtnet.handoff.facts import Facts, HandoffReport, LauncherPod
from virtnet.handoff.guest import (
    cannot_arrive,
    no_way_back,
    nothing_to_hand_over,
    pods_of_port,
    runs_on_target,
)
from virtnet.handoff.journal import HandoffJournal, HandoffState
from virtnet.handoff.options import ChassisOptions
from virtnet.handoff.strategies import BASIC

RELEASE_TIMEOUT = timedelta(seconds=2)
"""How long the source may take to let go before the target becomes the only chassis anyway: its node may be dead."""

SETTLE_TIMEOUT = timedelta(seconds=10)
"""How long a chassis that is to leave is waited for: one that is dead never takes itself off the binding."""

UNPROBED_AFTER = timedelta(seconds=2)
"""How long the target's node may take to begin to probe the guest; it may be dead, or its daemon."""

SILENT_AFTER = timedelta(seconds=5)
"""How long a guest that KubeVirt says runs may answer nothing, until an Event says so and the handoff ends."""

UNCOUNTED_AFTER = timedelta(seconds=2)
"""How long the source's node may take to report what it has forwarded; nothing but the record depends on it."""

STUCK_AFTER = timedelta(seconds=30)
"""How long one thing may be waited for until the handoff is stuck; none takes more than seconds where all is well."""


class HandoffOutcome(enum.StrEnum):
    """How a handoff ended."""

    COMMITTED = "Committed"
    ROLLED_BACK = "RolledBack"
    ABANDONED = "Abandoned"
    """The instance is gone, or where a later migration has taken it, or a pod lacks the NIC: nothing to hand over."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a handoff ended, for its record."""

    outcome: HandoffOutcome
    journal: HandoffJournal
    report: HandoffReport


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What must be true now."""

    options: ChassisOptions
    """What the port must have. Equal to what it has when nothing is to be written."""
    release: str = ""
    """The node that must let go of the port."""
    sole_target: LauncherPod | None = None
    """A migration's target that may claim the port though nobody hands it over: its source lacks the NIC."""
    wait: str = ""
    """What the handoff waits for, for people."""
    patient: bool = False
    """Whether that may take as long as it likes, as the copying of a guest's memory; else it is stuck after a while."""
    again: timedelta | None = None
    """Look again after this time even if nothing happens."""
    evict: frozenset[str] = frozenset()
    """Chassis that have the port, or are said to be activated for it, though nobody wants them to, and that OVN does
    not take off by itself.
    """
    ended: Ending | None = None
    """A handoff that ends with this decision; to be reported before the options are written and the journal is gone."""


def decide(facts: Facts) -> Decision:
    """The decision for one port."""
    journal = HandoffJournal.read(facts.options.journal)
    if journal is None:
        return _single(facts)
    if facts.instance is None or facts.instance.uid != journal.instance or facts.instance.final:
        return replace(_single(facts), ended=_ending(HandoffOutcome.ABANDONED, facts, journal))
    if reason := nothing_to_hand_over(facts, journal):
        explained = replace(journal, reason=reason)
        return replace(_single(facts), ended=_ending(HandoffOutcome.ABANDONED, facts, explained))
    return _STEPS[journal.state](facts, _observe(facts, journal.read_at(facts.now)))


def unreported(options: ChassisOptions, ending: Ending) -> Decision:
    """In place of a decision that ends a handoff, until that can be reported: its journal stays, with what was seen."""
    return Decision(
        options=ChassisOptions(requested=options.requested, journal=ending.journal.entries()),
        wait="the API server to take the report",
    )


def _single(facts: Facts) -> Decision:
    """One chassis or none: where the guest is, or will be; armed if a migration has a place to go to."""
    home, target, arrives = pods_of_port(facts)
    if home is None:
        return Decision(options=ChassisOptions())
    if home.node not in facts.chassis:
        # What stands stays: with no chassis requested, any that has the interface could take the port.
        stands = ChassisOptions(requested=facts.options.requested)
        wait = f"node {home.node} has no chassis; is virtnet-node running there?"
        return Decision(options=stands, wait=wait, patient=target is None)
    here = ChassisOptions(requested=(facts.chassis[home.node],))
    if target is None or facts.instance is None:
        # One that died while it was additional is not taken off, not even by itself when it comes back.
        quiet = facts.options == here and not facts.binding.requested_additional
        return Decision(
            options=here,
            sole_target=home if arrives else None,
            evict=facts.binding.additional | facts.binding.activated if quiet else frozenset(),
        )
    if target.node not in facts.chassis:
        return Decision(options=here, wait=f"node {target.node} has no chassis; is virtnet-node running there?")
    binding = facts.binding
    if facts.options != here or binding.requested_additional or binding.activated:
        # Arming over the remains of an earlier handoff would start the target unblocked (northd keeps the flag).
        return Decision(
            options=here, wait="OVN to finish the previous handoff", evict=facts.said_late(facts.chassis[home.node])
        )
    # Without a link KubeVirt's word is what counts: no announcement that a strategy waits for need ever come.
    fallback_reason = facts.fallback_reasons.get(target.node, "") if facts.link else ""
    journal = HandoffJournal(
        instance=facts.instance.uid,
        migration=target.migration,
        source=home.node,
        pod=home.name,
        target=target.node,
        source_chassis=facts.chassis[home.node],
        target_chassis=facts.chassis[target.node],
        state=HandoffState.ARMED,
        since=facts.now,
        armed=facts.now,
        fallback_reason=fallback_reason,
        strategy=facts.strategies.get(target.node, BASIC) if fallback_reason else "",
    )
    return Decision(options=_both(journal), wait=f"OVN to bind the port on {target.node} too")


def _both(journal: HandoffJournal) -> ChassisOptions:
    """Both chassis. A guest that runs unannounced is let in: it must not be cut off while the source lets go."""
    strategy = journal.strategy if journal.state is HandoffState.ARMED or journal.activated else ""
    requested = (journal.source_chassis, journal.target_chassis)
    return ChassisOptions(requested=requested, strategy=strategy, journal=journal.entries())


def _observe(facts: Facts, journal: HandoffJournal) -> HandoffJournal:
    """The journal with the times of what is seen for the first time."""
    binding, target = facts.binding, journal.target_chassis
    seen = {
        "bound": target in binding.additional or target == binding.chassis,
        "activated": target in binding.activated,
        "ready": runs_on_target(facts, journal),
    }
    times = {name: facts.now for name, now in seen.items() if now and getattr(journal, name) is None}
    return replace(journal, **times)  # type: ignore[arg-type]  # the names are those of the times


def _ending(outcome: HandoffOutcome, facts: Facts, journal: HandoffJournal) -> Ending:
    return Ending(outcome=outcome, journal=journal, report=facts.report_of(journal))


def _armed(facts: Facts, journal: HandoffJournal) -> Decision:
    if runs_on_target(facts, journal):
        return Decision(
            options=_both(journal.enter(HandoffState.RELEASING, facts.now)),
            release=journal.source,
            wait=f"{journal.source} to let go",
            again=RELEASE_TIMEOUT,
        )
    reason = cannot_arrive(facts, journal)
    if reason:
        back = replace(journal, reason=reason).enter(HandoffState.ROLLING_BACK, facts.now)
        return Decision(
            options=ChassisOptions(requested=(journal.source_chassis,), journal=back.entries()),
            wait=f"OVN to leave {journal.target}, because {reason}",
        )
    return Decision(
        options=_both(journal),
        wait=_waiting(facts, journal),
        patient=journal.bound is not None and not no_way_back(facts, journal),
    )


def _waiting(facts: Facts, journal: HandoffJournal) -> str:
    if journal.target_chassis not in facts.binding.requested_additional and journal.bound is None:
        return f"OVN to know chassis {journal.target_chassis} of {journal.target}; is ovn-controller running there?"
    if journal.bound is None:
        return f"OVN to bind the port on {journal.target} too"
    if no_way_back(facts, journal):
        return f"the guest, which left {journal.source} for good (post-copy), to run on {journal.target} or to fail"
    return f"the guest to run on {journal.target}"


def _releasing(facts: Facts, journal: HandoffJournal) -> Decision:
    released = facts.binding.chassis != journal.source_chassis
    late = facts.now - journal.since >= RELEASE_TIMEOUT
    if not released and not late:
        remaining = RELEASE_TIMEOUT - (facts.now - journal.since)
        return Decision(
            options=_both(journal),
            release=journal.source,
            wait=f"{journal.source} to let go",
            again=remaining,
        )
    committing = journal.enter(HandoffState.COMMITTING, facts.now)
    return Decision(
        options=ChassisOptions(requested=(journal.target_chassis,), journal=committing.entries()),
        release=journal.source,
        wait=f"OVN to bind the port on {journal.target} alone",
    )


def _settled(facts: Facts, journal: HandoffJournal, chassis: str) -> bool:
    binding = facts.binding
    left = not binding.additional or facts.now - journal.since >= SETTLE_TIMEOUT
    return binding.chassis == chassis and left and not (binding.requested_additional or binding.activated)


def _committing(facts: Facts, journal: HandoffJournal) -> Decision:
    if _settled(facts, journal, journal.target_chassis):
        return _arrived(facts, replace(journal, settled=journal.settled or facts.now))
    return Decision(
        options=ChassisOptions(requested=(journal.target_chassis,), journal=journal.entries()),
        release=journal.source,
        wait=f"OVN to bind the port on {journal.target} alone",
        again=SETTLE_TIMEOUT,
        evict=facts.said_late(journal.target_chassis),
    )


def _arrived(facts: Facts, journal: HandoffJournal) -> Decision:
    """The port has arrived; the end, unless a node has yet to report whether the guest has, too."""
    alone, waited = (journal.target_chassis,), facts.now - (journal.settled or facts.now)
    wait, most = _awaited_report(facts.report_of(journal), journal)
    if not wait or waited >= most:
        return Decision(
            options=ChassisOptions(requested=alone), ended=_ending(HandoffOutcome.COMMITTED, facts, journal)
        )
    return Decision(
        options=ChassisOptions(requested=alone, journal=journal.entries()),
        release=journal.source,
        wait=wait,
        again=most - waited,
    )


def _awaited_report(report: HandoffReport, journal: HandoffJournal) -> tuple[str, timedelta]:
    """What the nodes have yet to report of a port that has arrived, and how long it may take; empty: nothing."""
    if report.silent:
        return f"the guest to answer on {journal.target}", SILENT_AFTER
    if report.unanswered:
        return f"{journal.target} to probe the guest", UNPROBED_AFTER
    if report.gate_opened and report.forwarded_frames is None and not (report.drain_error or journal.fallback_reason):
        return f"{journal.source} to count what it has forwarded", UNCOUNTED_AFTER
    return "", timedelta()


def _rolling_back(facts: Facts, journal: HandoffJournal) -> Decision:
    if runs_on_target(facts, journal) or no_way_back(facts, journal):
        # What was seen late turns it round: the guest runs there, whatever a failure seen earlier let us think.
        return _committing(facts, journal.enter(HandoffState.COMMITTING, facts.now))
    alone = (journal.source_chassis,)
    if _settled(facts, journal, journal.source_chassis):
        return Decision(
            options=ChassisOptions(requested=alone), ended=_ending(HandoffOutcome.ROLLED_BACK, facts, journal)
        )
    return Decision(
        options=ChassisOptions(requested=alone, journal=journal.entries()),
        wait=f"OVN to leave {journal.target}, because {journal.reason}",
        again=SETTLE_TIMEOUT,
        evict=facts.said_late(journal.source_chassis),
    )


_STEPS: dict[HandoffState, Callable[[Facts, HandoffJournal], Decision]] = {
    HandoffState.ARMED: _armed,
    HandoffState.RELEASING: _releasing,
    HandoffState.COMMITTING: _committing,
    HandoffState.ROLLING_BACK: _rolling_back,
}

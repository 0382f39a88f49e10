"""What a port's chassis options must be now, decided from facts alone.

Level-triggered: every call looks at what is there, so a repeated, late or lost event changes nothing. The only thing
remembered is the journal, which is itself one of the facts. See docs/handoff.md for the picture.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from virtnet.handoff.facts import Facts, LauncherPod, Told
from virtnet.handoff.guest import cannot_arrive, gone_for_good, home_of, no_way_back, runs_on_target, target_of
from virtnet.handoff.journal import Journal, State
from virtnet.handoff.options import ChassisOptions
from virtnet.handoff.strategies import BASIC

RELEASE_TIMEOUT = timedelta(seconds=2)
"""How long the source may take to let go before the target becomes the only chassis anyway: its node may be dead."""

SETTLE_TIMEOUT = timedelta(seconds=10)
"""How long a chassis that is to leave is waited for: one that is dead never takes itself off the binding."""

UNASKED_AFTER = timedelta(seconds=2)
"""How long the target's node may take to ask the guest whether it is there; it may be dead, or its daemon."""

SILENT_AFTER = timedelta(seconds=5)
"""How long a guest that is said to run may answer nothing, until people are told and the handoff ends."""

UNCOUNTED_AFTER = timedelta(seconds=2)
"""How long the source's node may take to tell what it has sent on; nothing but the story depends on it."""

STUCK_AFTER = timedelta(seconds=30)
"""How long one thing may be waited for until people are told; none takes more than seconds where all is well."""


class Outcome(enum.StrEnum):
    """How a handoff ended."""

    COMMITTED = "Committed"
    ROLLED_BACK = "RolledBack"
    ABANDONED = "Abandoned"
    """The instance is gone, or is where a later migration has taken it; there is nothing left to hand over."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """A handoff's last word."""

    outcome: Outcome
    journal: Journal
    told: Told


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
    """Chassis that have the port, or are said to be activated for it, though nobody wants them to, and that OVN does
    not take off by itself.
    """
    ended: Ending | None = None
    """A handoff that ends with this decision; to be reported before the options are written and the journal is gone."""


def decide(facts: Facts) -> Decision:
    """The decision for one port."""
    journal = Journal.read(facts.options.journal)
    if journal is None:
        return _single(facts)
    if facts.instance is None or facts.instance.uid != journal.instance or facts.instance.final:
        return replace(_single(facts), ended=_ending(Outcome.ABANDONED, facts, journal))
    if _went_on(facts, journal):
        told = replace(journal, reason="a later migration took the guest on while no controller led")
        return replace(_single(facts), ended=_ending(Outcome.ABANDONED, facts, told))
    return _STEPS[journal.state](facts, _observe(facts, journal.read_at(facts.now)))


def unreported(options: ChassisOptions, ending: Ending) -> Decision:
    """In place of a decision that ends a handoff, while nobody can be told: its journal stays, with what was seen."""
    return Decision(
        options=ChassisOptions(requested=options.requested, journal=ending.journal.entries()),
        wait="the API server to take the report",
    )


def _went_on(facts: Facts, journal: Journal) -> bool:
    """Whether the guest is in a pod of another migration by now: nobody led while that took it on.

    Neither end of this handoff will ever have the port again.
    """
    gone = gone_for_good(facts)
    if gone is not None and gone.node != journal.target and not _left(journal, gone):  # a later migration's
        return True
    target = facts.target_pod(journal.migration)
    home = home_of(facts.instance, facts.pods, facts.migrations)
    if home is None or home == target or home.name == journal.pod or not journal.pod:
        return False
    return target is None or target.terminal or facts.state(home.migration).domain_ready


def _left(journal: Journal, pod: LauncherPod) -> bool:
    """Whether the handoff is from this pod; from its node, where the journal does not say from which."""
    return pod.name == journal.pod if journal.pod else pod.node == journal.source


def _single(facts: Facts) -> Decision:
    """One chassis or none: where the guest is, or will be; armed if a migration has a place to go to."""
    home = gone_for_good(facts) or home_of(facts.instance, facts.pods, facts.migrations)
    if home is None:
        return Decision(options=ChassisOptions())
    if home.node not in facts.chassis:
        # What stands stays: with no chassis requested, any that has the interface could take the port.
        stands = ChassisOptions(requested=facts.options.requested)
        wait = f"node {home.node} has no chassis; is virtnet-node running there?"
        return Decision(options=stands, wait=wait, patient=target_of(facts, home) is None)
    here = ChassisOptions(requested=(facts.chassis[home.node],))
    target = target_of(facts, home)
    if target is None or facts.instance is None or facts.instance.final:
        # One that died while it was additional is not taken off, not even by itself when it comes back.
        quiet = facts.options == here and not facts.binding.requested_additional
        return Decision(
            options=here, evict=facts.binding.additional | facts.binding.activated if quiet else frozenset()
        )
    if target.node not in facts.chassis:
        return Decision(options=here, wait=f"node {target.node} has no chassis; is virtnet-node running there?")
    binding = facts.binding
    if facts.options != here or binding.requested_additional or binding.activated:
        # Arming over the remains of an earlier handoff would start the target unblocked (northd keeps the flag).
        return Decision(
            options=here, wait="OVN to finish the previous handoff", evict=facts.said_late(facts.chassis[home.node])
        )
    gateless = facts.gateless.get(target.node, "")
    journal = Journal(
        instance=facts.instance.uid,
        migration=target.migration,
        source=home.node,
        pod=home.name,
        target=target.node,
        source_chassis=facts.chassis[home.node],
        target_chassis=facts.chassis[target.node],
        state=State.ARMED,
        since=facts.now,
        armed=facts.now,
        gateless=gateless,
        strategy=facts.strategies.get(target.node, BASIC) if gateless else "",
    )
    return Decision(options=_both(journal), wait=f"OVN to bind the port on {target.node} too")


def _both(journal: Journal) -> ChassisOptions:
    """Both chassis. A guest that runs unannounced is let in: it must not be cut off while the source lets go."""
    strategy = journal.strategy if journal.state is State.ARMED or journal.activated else ""
    requested = (journal.source_chassis, journal.target_chassis)
    return ChassisOptions(requested=requested, strategy=strategy, journal=journal.entries())


def _observe(facts: Facts, journal: Journal) -> Journal:
    """The journal with the times of what is seen for the first time."""
    binding, target = facts.binding, journal.target_chassis
    seen = {
        "bound": target in binding.additional or target == binding.chassis,
        "activated": target in binding.activated,
        "ready": runs_on_target(facts, journal),
    }
    times = {name: facts.now for name, now in seen.items() if now and getattr(journal, name) is None}
    return replace(journal, **times)  # type: ignore[arg-type]  # the names are those of the times


def _ending(outcome: Outcome, facts: Facts, journal: Journal) -> Ending:
    return Ending(outcome=outcome, journal=journal, told=facts.told_of(journal))


def _armed(facts: Facts, journal: Journal) -> Decision:
    if runs_on_target(facts, journal):
        return Decision(
            options=_both(journal.enter(State.RELEASING, facts.now)),
            release=journal.source,
            wait=f"{journal.source} to let go",
            again=RELEASE_TIMEOUT,
        )
    reason = cannot_arrive(facts, journal)
    if reason:
        back = replace(journal, reason=reason).enter(State.ROLLING_BACK, facts.now)
        return Decision(
            options=ChassisOptions(requested=(journal.source_chassis,), journal=back.entries()),
            wait=f"OVN to leave {journal.target}, because {reason}",
        )
    return Decision(
        options=_both(journal),
        wait=_waiting(facts, journal),
        patient=journal.bound is not None and not no_way_back(facts, journal),
    )


def _waiting(facts: Facts, journal: Journal) -> str:
    if journal.target_chassis not in facts.binding.requested_additional and journal.bound is None:
        return f"OVN to know chassis {journal.target_chassis} of {journal.target}; is ovn-controller running there?"
    if journal.bound is None:
        return f"OVN to bind the port on {journal.target} too"
    if no_way_back(facts, journal):
        return f"the guest, which left {journal.source} for good (post-copy), to run on {journal.target} or to fail"
    return f"the guest to run on {journal.target}"


def _releasing(facts: Facts, journal: Journal) -> Decision:
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
    if _settled(facts, journal, journal.target_chassis):
        return _arrived(facts, replace(journal, settled=journal.settled or facts.now))
    return Decision(
        options=ChassisOptions(requested=(journal.target_chassis,), journal=journal.entries()),
        release=journal.source,
        wait=f"OVN to bind the port on {journal.target} alone",
        again=SETTLE_TIMEOUT,
        evict=facts.said_late(journal.target_chassis),
    )


def _arrived(facts: Facts, journal: Journal) -> Decision:
    """The port has arrived; the end, unless somebody has yet to say whether the guest has, too."""
    alone, waited = (journal.target_chassis,), facts.now - (journal.settled or facts.now)
    wait, most = _unsaid(facts.told_of(journal), journal)
    if not wait or waited >= most:
        return Decision(options=ChassisOptions(requested=alone), ended=_ending(Outcome.COMMITTED, facts, journal))
    return Decision(
        options=ChassisOptions(requested=alone, journal=journal.entries()),
        release=journal.source,
        wait=wait,
        again=most - waited,
    )


def _unsaid(told: Told, journal: Journal) -> tuple[str, timedelta]:
    """What is still to be heard of a port that has arrived, and how long it may take; empty when there is nothing."""
    if told.silent:
        return f"the guest to answer on {journal.target}", SILENT_AFTER
    if told.answered is None:
        return f"{journal.target} to ask the guest whether it is there", UNASKED_AFTER
    if told.opened and told.carried is None and not (told.undrained or journal.gateless):
        return f"{journal.source} to count what it has sent on", UNCOUNTED_AFTER
    return "", timedelta()


def _rolling_back(facts: Facts, journal: Journal) -> Decision:
    if runs_on_target(facts, journal) or no_way_back(facts, journal):
        # What was seen late turns it round: the guest runs there, whatever a failure seen earlier let us think.
        return _committing(facts, journal.enter(State.COMMITTING, facts.now))
    alone = (journal.source_chassis,)
    if _settled(facts, journal, journal.source_chassis):
        return Decision(options=ChassisOptions(requested=alone), ended=_ending(Outcome.ROLLED_BACK, facts, journal))
    return Decision(
        options=ChassisOptions(requested=alone, journal=journal.entries()),
        wait=f"OVN to leave {journal.target}, because {journal.reason}",
        again=SETTLE_TIMEOUT,
        evict=facts.said_late(journal.source_chassis),
    )


_STEPS: dict[State, Callable[[Facts, Journal], Decision]] = {
    State.ARMED: _armed,
    State.RELEASING: _releasing,
    State.COMMITTING: _committing,
    State.ROLLING_BACK: _rolling_back,
}

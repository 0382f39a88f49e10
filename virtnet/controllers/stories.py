"""Handoffs as people are told of them: the records in a Port's status, and a sentence for each end. Pure."""

from datetime import datetime

from virtnet.api import HandoffRecord
from virtnet.handoff.facts import Told
from virtnet.handoff.journal import Journal
from virtnet.handoff.machine import Ending, Outcome

KEPT_HANDOFFS = 5
_TOLD = ("activated_at", "answered_at", "carried")
UNASKED = (
    "KubeVirt says that the guest runs on {journal.target}, but nobody has asked it whether it is there; is "
    "virtnet-node running on {journal.target}?"
)
SILENT = (
    "KubeVirt says that the guest runs on {journal.target}, OVN has the port there alone, and the guest neither "
    "answers ARP nor sends anything; look at its console: the network waits for nothing more"
)


def record_of(
    journal: Journal, told: Told, state: str, *, message: str, finished: datetime | None = None
) -> HandoffRecord:
    return HandoffRecord(
        migration=journal.migration,
        source=journal.source,
        target=journal.target,
        state=state,
        gateless=journal.gateless,
        strategy=journal.strategy,
        armed_at=journal.armed,
        bound_at=journal.bound,
        activated_at=told.opened or journal.activated,
        domain_ready_at=journal.ready,
        answered_at=told.answered,
        carried=told.carried,
        undrained=told.undrained,
        finished_at=finished,
        message=message,
    )


def with_record(records: tuple[HandoffRecord, ...], record: HandoffRecord) -> tuple[HandoffRecord, ...]:
    """The records with this one, in place of an earlier one of the same migration; those armed last come first.

    What has ended stays ended: a report that was begun before may come after. What a node has told stays told: it
    forgets that when its daemon is started anew. The order is one that two controllers agree about: a leader that was
    deposed, and has yet to notice, tells of the last ending that it knows.
    """
    before = next((one for one in records if one.migration == record.migration), None)
    if before is not None and before.finished_at and record.finished_at is None:
        return records
    if before is not None:
        told = {name: getattr(before, name) for name in _TOLD if getattr(record, name) is None}
        record = record.model_copy(update=told)
    others = [one for one in records if one is not before]
    later = [one for one in others if one.armed_at and record.armed_at and one.armed_at > record.armed_at]
    return (*later, record, *(one for one in others if one not in later))[:KEPT_HANDOFFS]


def without_lost(
    records: tuple[HandoffRecord, ...], underway: frozenset[str], now: datetime
) -> tuple[HandoffRecord, ...]:
    """The records, those closed of which nothing will come any more: somebody has deleted the row with the journal."""
    lost = {
        "state": "Lost",
        "finished_at": now,
        "message": "the port's row in OVN was deleted meanwhile, and made anew",
    }
    return tuple(
        one if one.finished_at or one.migration in underway else one.model_copy(update=lost) for one in records
    )


def story(ending: Ending, now: datetime) -> str:
    """One sentence for people."""
    journal, told = ending.journal, ending.told
    steps = [f"armed {journal.target}" + (f" in {_ms(journal.armed, journal.bound)}" if journal.bound else "")]
    if journal.gateless:
        steps.append(f"held back by OVN until {journal.strategy}, for want of a gate ({journal.gateless})")
    if journal.ready:
        steps.append("guest running" if told.opened or journal.activated else "guest running, unannounced")
    if told.carried is not None:
        steps.append(f"{told.carried} {'frame' if told.carried == 1 else 'frames'} carried over")
    match ending.outcome:
        case Outcome.COMMITTED:
            steps.append(f"committed; {_ms(journal.ready or journal.since, journal.settled or now)}")
            if told.silent:
                steps.append(f"but the guest has answered nothing there for {_ms(journal.settled or now, now)}")
            elif told.answered is None:
                steps.append("but nobody has asked the guest whether it is there")
            if told.undrained:
                steps.append(f"frames of its pause lost ({told.undrained})")
        case Outcome.ROLLED_BACK:
            why = f"rolled back because {journal.reason}; the guest stayed on {journal.source}"
            steps.append(f"{why}; {_ms(journal.since, now)}")
        case Outcome.ABANDONED:
            steps.append(journal.reason or "the VM instance ended")
    return ", ".join(steps)


def _ms(start: datetime, end: datetime) -> str:
    return f"{(end - start).total_seconds() * 1000:.0f} ms"


def missing(ending: Ending) -> tuple[str, str]:
    """Reason and text of an Event about a guest that was not heard where it has gone."""
    reason, text = ("GuestSilent", SILENT) if ending.told.silent else ("GuestNotAsked", UNASKED)
    return reason, text.format(journal=ending.journal)

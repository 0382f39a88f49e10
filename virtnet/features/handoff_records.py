"""Handoffs as people are told of them: the records in a Port's status, and a sentence for each end. Pure."""

from datetime import datetime

from virtnet.api import HandoffRecord
from virtnet.handoff.facts import HandoffReport
from virtnet.handoff.journal import HandoffJournal
from virtnet.handoff.machine import Ending, HandoffOutcome

KEPT_HANDOFFS = 5
_KEPT = ("activated_at", "answered_at", "forwarded_frames")
UNVERIFIED = (
    "KubeVirt says that the guest runs on {journal.target}, but nobody has verified that it is there; is "
    "virtnet-node running on {journal.target}?"
)
SILENT = (
    "KubeVirt says that the guest runs on {journal.target}, OVN has the port there alone, and the guest neither "
    "answers ARP nor sends anything; look at its console: the network waits for nothing more"
)


def record_of(
    journal: HandoffJournal, report: HandoffReport, state: str, *, message: str, finished: datetime | None = None
) -> HandoffRecord:
    return HandoffRecord(
        migration=journal.migration,
        source=journal.source,
        target=journal.target,
        state=state,
        fallback_reason=journal.fallback_reason,
        strategy=journal.strategy,
        armed_at=journal.armed,
        bound_at=journal.bound,
        activated_at=report.gate_opened or journal.activated,
        domain_ready_at=journal.ready,
        answered_at=report.answered,
        forwarded_frames=report.forwarded_frames,
        drain_error=report.drain_error,
        finished_at=finished,
        message=message,
    )


def with_record(records: tuple[HandoffRecord, ...], record: HandoffRecord) -> tuple[HandoffRecord, ...]:
    """The records with this one, in place of an earlier one of the same migration; those armed last come first.

    What has ended stays ended: a report that was begun before may come after. What a node has reported stays: it
    forgets that when its daemon is started anew. The order is one that two controllers agree about: a leader that was
    deposed, and has yet to notice, reports the last ending that it knows.
    """
    before = next((one for one in records if one.migration == record.migration), None)
    if before is not None and before.finished_at and record.finished_at is None:
        return records
    if before is not None:
        kept = {name: getattr(before, name) for name in _KEPT if getattr(record, name) is None}
        record = record.model_copy(update=kept)
    others = [one for one in records if one is not before]
    later = [one for one in others if one.armed_at and record.armed_at and one.armed_at > record.armed_at]
    return (*later, record, *(one for one in others if one not in later))[:KEPT_HANDOFFS]


def without_lost(
    records: tuple[HandoffRecord, ...], running: frozenset[str], now: datetime
) -> tuple[HandoffRecord, ...]:
    """The records, those closed of which nothing will come any more: somebody has deleted the row with the journal."""
    lost = {
        "state": "Lost",
        "finished_at": now,
        "message": "the port's row in OVN was deleted meanwhile, and made anew",
    }
    return tuple(one if one.finished_at or one.migration in running else one.model_copy(update=lost) for one in records)


def summary_of(ending: Ending, now: datetime) -> str:
    """One sentence for people."""
    journal, report = ending.journal, ending.report
    steps = [f"armed {journal.target}" + (f" in {_ms(journal.armed, journal.bound)}" if journal.bound else "")]
    if journal.fallback_reason:
        steps.append(f"held back by OVN until {journal.strategy}, for want of a gate ({journal.fallback_reason})")
    if journal.ready:
        announced = report.gate_opened or journal.activated or not report.link
        steps.append("guest running" if announced else "guest running, unannounced")
    if report.forwarded_frames is not None:
        steps.append(f"{report.forwarded_frames} {'frame' if report.forwarded_frames == 1 else 'frames'} forwarded")
    match ending.outcome:
        case HandoffOutcome.COMMITTED:
            steps.append(f"committed; {_ms(journal.ready or journal.since, journal.settled or now)}")
            if liveness := _liveness(ending, now):
                steps.append(liveness)
            if report.drain_error:
                steps.append(f"frames of its pause lost ({report.drain_error})")
        case HandoffOutcome.ROLLED_BACK:
            why = f"rolled back because {journal.reason}; the guest stayed on {journal.source}"
            steps.append(f"{why}; {_ms(journal.since, now)}")
        case HandoffOutcome.ABANDONED:
            steps.append(journal.reason or "the VM instance ended")
    return ", ".join(steps)


def _liveness(ending: Ending, now: datetime) -> str:
    """Why nobody has heard of the guest where the port has arrived; empty where somebody has."""
    report = ending.report
    if report.silent:
        return f"but the guest has answered nothing there for {_ms(ending.journal.settled or now, now)}"
    if report.unanswered:
        return "but no node has verified that the guest is there"
    if report.paused and report.answered is None:
        return "the guest is paused"
    return "" if report.link else "the guest was not probed, because nodes have no link of its NIC"


def _ms(start: datetime, end: datetime) -> str:
    return f"{(end - start).total_seconds() * 1000:.0f} ms"


def unverified(ending: Ending) -> tuple[str, str]:
    """Reason and text of an Event about a guest that was not heard where it has gone."""
    reason, text = ("GuestSilent", SILENT) if ending.report.silent else ("GuestUnverified", UNVERIFIED)
    return reason, text.format(journal=ending.journal)

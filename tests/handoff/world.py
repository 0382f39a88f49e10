"""A cluster and its controller: what the watches have told of it so far, and what is decided from that."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tests.handoff.cluster import SimulatedCluster
from tests.handoff.cluster_state import CHASSIS
from virtnet.handoff.facts import Binding, Facts, HandoffReport, Instance, LauncherPod, Migration
from virtnet.handoff.journal import HandoffJournal, HandoffState
from virtnet.handoff.machine import (
    RELEASE_TIMEOUT,
    SILENT_AFTER,
    UNPROBED_AFTER,
    Ending,
    HandoffOutcome,
    decide,
    unreported,
)

WATCHES = ("instance", "pods", "migrations", "binding", "chassis", "reports")
EVENTS = (
    *["proceed"] * 12, *["ovn"] * 6, *["release"] * 3, *["tick"] * 3, "announce", *["speak"] * 3, "ask", "daemon_dies",
    "failed", "failed", "abort", "post_copy", "vmims_collected", "pods_collected", "stop", "start", "wipe",
    "node_dies", "node_returns", "node_object_goes", "chassis_unknown", "another_leads",
    "api_goes", "api_comes", "nic_comes", "nic_goes", "plugged",
)  # fmt: skip
"""By how often they are to happen: mostly, a migration goes its way."""


@dataclass
class Seen:
    """What each watch has told: never older than before, but as far behind the others as it likes."""

    instance: Instance | None = None
    pods: tuple[LauncherPod, ...] = ()
    migrations: tuple[Migration, ...] = ()
    binding: Binding = field(default_factory=Binding)
    chassis: dict[str, str] = field(default_factory=dict)
    reports: dict[str, HandoffReport] = field(default_factory=dict)


class World(SimulatedCluster):
    """Its controller may lag, fail and be wrong about the time; what it decides is judged."""

    def __init__(self, *, link: bool = True) -> None:
        super().__init__()
        self.link = link
        self.skew = timedelta()
        """How wrong the clock of the controller is that leads."""
        self.deaf = False
        """Whether the API server takes no reports."""
        self.endings: list[Ending] = []
        self.seen = Seen()
        self.look(*WATCHES)

    @property
    def clock(self) -> datetime:
        return self.now + self.skew

    def api_goes(self) -> None:
        self.deaf = True

    def api_comes(self) -> None:
        self.deaf = False

    def another_leads(self) -> None:
        """On a machine whose clock is five minutes behind, or right, or five minutes ahead."""
        self.skew = timedelta(minutes=5) if self.skew < timedelta() else self.skew - timedelta(minutes=5)

    def look(self, *watches: str) -> None:
        """These watches catch up."""
        for watch in watches:
            value = getattr(self, watch)
            setattr(self.seen, watch, dict(value) if isinstance(value, dict) else value)

    @property
    def up_to_date(self) -> bool:
        return all(getattr(self.seen, watch) == getattr(self, watch) for watch in WATCHES)

    @property
    def facts(self) -> Facts:
        """What the watches have told."""
        return Facts(
            instance=self.seen.instance,
            link=self.link,
            pods=self.seen.pods,
            migrations=self.seen.migrations,
            binding=self.seen.binding,
            options=self.options,  # the transaction verifies what it was decided from
            chassis=self.seen.chassis,
            fallback_reasons={} if self.link else dict.fromkeys(CHASSIS, "an old kernel"),
            reports=self.seen.reports,
            now=self.clock,
        )

    def decide(self) -> None:
        before = HandoffJournal.read(self.options.journal)
        decision = decide(self.facts)
        if decision.ended is not None and self.deaf:
            decision = unreported(decision.options, decision.ended)
        elif decision.ended is not None:
            self.judge(decision.ended)
        journal = HandoffJournal.read(decision.options.journal)
        if decision.release and journal is not None and journal.migration == self.current:
            assert self.place != decision.release, "let go of under the guest's feet"
        if (
            journal is not None
            and journal.state is HandoffState.COMMITTING
            and before
            and before.state is HandoffState.RELEASING
        ):
            late = self.clock - before.since >= RELEASE_TIMEOUT
            assert late or self.seen.binding.chassis != journal.source_chassis, "the source lets go first"
        if journal is not None and before is None:
            assert not self.seen.binding.activated, "the target would start unblocked"
            assert not self.seen.binding.requested_additional, "OVN has yet to leave the last target"
        assert self.link or not decision.options.strategy, "nothing need ever satisfy it"
        self.options = decision.options
        if decision.release and journal is not None:
            self.to_release = decision.release, journal.pod
        gone = decision.evict
        if gone and not self.binding.requested_additional:
            self.binding = replace(self.binding, additional=self.binding.additional - gone, activated=frozenset())

    def judge(self, ending: Ending) -> None:
        """Whether people are told the truth."""
        journal, report = ending.journal, ending.report
        assert HandoffJournal.read(self.options.journal) is not None, "it had ended before"
        assert report == replace(self.seen.reports.get(journal.migration, HandoffReport()), link=self.link)
        self.endings.append(ending)
        if ending.outcome is HandoffOutcome.COMMITTED and report.answered is None and self.link:
            assert journal.settled is not None
            assert self.clock - journal.settled >= (SILENT_AFTER if report.silent else UNPROBED_AFTER)

    def settle(self) -> None:
        """Nothing new happens; what has happened is seen, and time goes by."""
        self.noticed()
        self.deaf = False
        for _ in range(20):
            self.look(*WATCHES)
            self.decide()
            self.release()
            self.ovn()
            self.tick()

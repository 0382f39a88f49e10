"""A cluster and its controller: what the watches have told of it so far, and what is decided from that."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tests.handoff.cluster import Cluster
from virtnet.handoff.facts import Binding, Facts, Instance, LauncherPod, Migration, Told
from virtnet.handoff.journal import Journal, State
from virtnet.handoff.machine import RELEASE_TIMEOUT, SILENT_AFTER, UNASKED_AFTER, Ending, Outcome, decide, unreported

WATCHES = ("instance", "pods", "migrations", "binding", "chassis", "told")
EVENTS = (
    *["proceed"] * 12, *["ovn"] * 6, *["release"] * 3, *["tick"] * 3, "announce", *["speak"] * 3, "ask", "daemon_dies",
    "failed", "failed", "abort", "post_copy", "vmims_collected", "pods_collected", "stop", "start", "wipe",
    "node_dies", "node_returns", "node_object_goes", "chassis_unknown", "another_leads",
    "api_goes", "api_comes",
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
    told: dict[str, Told] = field(default_factory=dict)


class World(Cluster):
    """Its controller may lag, fail and be wrong about the time; what it decides is judged."""

    def __init__(self) -> None:
        super().__init__()
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

    def decide(self) -> None:
        facts = Facts(
            instance=self.seen.instance,
            pods=self.seen.pods,
            migrations=self.seen.migrations,
            binding=self.seen.binding,
            options=self.options,  # the transaction verifies what it was decided from
            chassis=self.seen.chassis,
            told=self.seen.told,
            now=self.clock,
        )
        before = Journal.read(self.options.journal)
        decision = decide(facts)
        if decision.ended is not None and self.deaf:
            decision = unreported(decision.options, decision.ended)
        elif decision.ended is not None:
            self.judge(decision.ended)
        journal = Journal.read(decision.options.journal)
        if decision.release and journal is not None and journal.migration == self.current:
            assert self.place != decision.release, "let go of under the guest's feet"
        if journal is not None and journal.state is State.COMMITTING and before and before.state is State.RELEASING:
            late = self.clock - before.since >= RELEASE_TIMEOUT
            assert late or self.seen.binding.chassis != journal.source_chassis, "the source lets go first"
        if journal is not None and before is None:
            assert not self.seen.binding.activated, "the target would start unblocked"
            assert not self.seen.binding.requested_additional, "OVN has yet to leave the last target"
        self.options = decision.options
        if decision.release and journal is not None:
            self.asked = decision.release, journal.pod
        gone = decision.evict
        if gone and not self.binding.requested_additional:
            self.binding = replace(self.binding, additional=self.binding.additional - gone, activated=frozenset())

    def judge(self, ending: Ending) -> None:
        """Whether people are told the truth."""
        journal, told = ending.journal, ending.told
        assert Journal.read(self.options.journal) is not None, "it had ended before"
        assert told == self.seen.told.get(journal.migration, Told())
        self.endings.append(ending)
        if ending.outcome is Outcome.COMMITTED and told.answered is None:
            assert journal.settled is not None
            assert self.clock - journal.settled >= (SILENT_AFTER if told.silent else UNASKED_AFTER)

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

"""What the controller tells Prometheus."""

from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from virtnet import __version__
from virtnet.handoff.machine import Ending, HandoffOutcome

SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
FRAMES = (0, 1, 10, 100, 1000, 4096)


class Metrics:
    """One registry per process; no metric has a label per VM."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.leader = Gauge("virtnet_leader", "Whether this process leads.", registry=self.registry)
        self.pinned = Gauge("virtnet_pinned_addresses", "Leased addresses, MACs included.", registry=self.registry)
        self.ports = Gauge("virtnet_ports", "Ports.", registry=self.registry)
        self.conflicts = Gauge(
            "virtnet_address_conflicts",
            "NICs that wait because a machine outside has an address of theirs.",
            registry=self.registry,
        )
        self.connected = Gauge("virtnet_ovn_connected", "Whether OVN's databases answer.", registry=self.registry)
        self.waiting = Gauge(
            "virtnet_waiting_keys", "Keys that a worker has still to look at.", ["worker"], registry=self.registry
        )
        self.kinds = Gauge(
            "virtnet_watched_kinds",
            "Kinds of objects by what the API server makes of their watch: all but Served keep something waiting.",
            ["state"],
            registry=self.registry,
        )
        self.transactions = Histogram(
            "virtnet_ovn_transaction_duration_seconds",
            "Northbound transactions.",
            ["result"],
            registry=self.registry,
            buckets=SECONDS,
        )
        self.stuck = Gauge(
            "virtnet_handoffs_stuck", "Handoffs that have waited for one thing for too long.", registry=self.registry
        )
        self._migrations = Counter(
            "virtnet_migrations_total", "Handoffs that have ended.", ["result"], registry=self.registry
        )
        self._silent = Counter(
            "virtnet_silent_guests_total", "Guests that answered nothing where they had gone.", registry=self.registry
        )
        self._unverified = Counter(
            "virtnet_unverified_guests_total",
            "Guests whose liveness their new node did not verify.",
            registry=self.registry,
        )
        self._forwarded = Histogram(
            "virtnet_migration_forwarded_frames",
            "Frames that a guest had not read on the source and that were forwarded to the target.",
            registry=self.registry,
            buckets=FRAMES,
        )
        self._armed = Histogram(
            "virtnet_migration_port_arm_duration_seconds",
            "From the port requested on the target too to OVN having bound it there.",
            registry=self.registry,
            buckets=SECONDS,
        )
        self._handoff = Histogram(
            "virtnet_migration_port_handoff_duration_seconds",
            "From the guest known to run on the target to the target being the only chassis.",
            registry=self.registry,
            buckets=SECONDS,
        )
        build = Gauge("virtnet_build_info", "The version that runs.", ["version"], registry=self.registry)
        build.labels(__version__).set(1)

    def forget(self) -> None:
        """Who leads no more knows nothing: what it knew last would be told for ever, and kept in memory."""
        for gauge in (self.pinned, self.ports, self.conflicts, self.connected, self.stuck):
            gauge.set_function(lambda: 0)
        self.waiting.clear()
        self.kinds.clear()

    def handoff(self, ending: Ending) -> None:
        journal, report = ending.journal, ending.report
        self._migrations.labels(ending.outcome.lower()).inc()
        if journal.bound is not None:
            self._armed.observe((journal.bound - journal.armed).total_seconds())
        if ending.outcome is not HandoffOutcome.COMMITTED:
            return
        if journal.ready is not None:
            self._handoff.observe(((journal.settled or datetime.now(UTC)) - journal.ready).total_seconds())
        if report.forwarded_frames is not None:
            self._forwarded.observe(report.forwarded_frames)
        if report.silent:
            self._silent.inc()
        elif report.unanswered:
            self._unverified.inc()

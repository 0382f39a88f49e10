"""Random worlds: OVN lags, the controller sees each change late or twice, anything fails at any time.

Whatever happens, once the world stands still the port belongs to one chassis: the one that has the guest.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from virtnet.handoff.facts import Binding, Facts, Instance, LauncherPod, Migration, MigrationState
from virtnet.handoff.machine import decide
from virtnet.handoff.options import ChassisOptions

CHASSIS = {f"node{n}": f"ch{n}" for n in (1, 2, 3)}
EVENTS = (
    "migrate", "schedule", "ready", "moved", "completed", "failed", "abort", "target dies", "vmim collected",
    "source collected", "ovn", "ovn", "announce", "release", "tick", "decide", "decide", "decide", "stop", "start", "wipe",
)  # fmt: skip


class World:
    """KubeVirt and OVN as far as one port sees them; every method is one thing that can happen."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.serial = 0
        self.options = ChassisOptions()
        self.binding = Binding()
        self.interfaces: set[str] = set()
        self.instance: Instance | None = None
        self.pods: dict[str, LauncherPod] = {}
        self.migration: Migration | None = None
        self.release = ""
        self.on_target = False
        self.start()

    def start(self) -> None:
        if self.instance is None and not self.pods:
            self.serial += 1
            self.instance = Instance(uid=f"i{self.serial}", node="node1", phase="Running")
            self.pods = {"src": LauncherPod(name="src", node="node1")}
            self.interfaces = {"ch1"}
            self.migration, self.on_target = None, False

    def stop(self) -> None:
        self.instance, self.pods, self.migration = None, {}, None
        self.interfaces = set()

    def home(self) -> str:
        return (
            next(n for n, p in self.pods.items() if p.node == self.instance.node and not p.terminal)
            if self.instance
            else ""
        )

    def migrate(self) -> None:
        if self.instance and (self.migration is None or self.migration.final):
            self.serial += 1
            self.migration = Migration(uid=f"m{self.serial}", phase="Pending")
            self.pods[f"p{self.serial}"] = LauncherPod(name=f"p{self.serial}", migration=self.migration.uid)
            self.on_target = False

    def target(self) -> LauncherPod | None:
        running = self.migration and not self.migration.final
        return next((p for p in self.pods.values() if running and p.migration == self.migration.uid), None)

    def schedule(self) -> None:
        target = self.target()
        if target and not target.node and not target.terminal:
            node = next(n for n in CHASSIS if n != self.instance.node)
            self.pods[target.name] = replace(target, node=node)
            self.interfaces.add(CHASSIS[node])

    def ready(self) -> None:
        target = self.target()
        if target and target.node and not target.terminal and CHASSIS[target.node] in self.binding.additional:
            self.on_target = True
            self.instance = replace(self.instance, state=MigrationState(uid=self.migration.uid, domain_ready=True))

    def moved(self) -> None:
        if self.on_target and (target := self.target()):
            self.instance = replace(self.instance, node=target.node)

    def completed(self) -> None:
        target = self.target()
        if self.on_target and target and self.instance.node == target.node:
            self.migration = replace(self.migration, phase="Succeeded")
            for name, pod in self.pods.items():
                if pod.node != target.node:
                    self.pods[name] = replace(pod, terminal=True)
                    self.interfaces.discard(CHASSIS.get(pod.node, ""))

    def failed(self) -> None:
        if not self.on_target and (target := self.target()):
            self.instance = replace(self.instance, state=MigrationState(uid=self.migration.uid, failed=True))
            self.migration = replace(self.migration, phase="Failed")
            self.end(target)

    def end(self, target: LauncherPod) -> None:
        self.pods[target.name] = replace(target, terminal=True)
        self.interfaces.discard(CHASSIS.get(target.node, ""))

    def abort(self) -> None:
        if not self.on_target and (target := self.target()):
            del self.pods[target.name]
            self.interfaces.discard(CHASSIS.get(target.node, ""))
            self.migration = None

    def target_dies(self) -> None:
        self.failed()

    def vmim_collected(self) -> None:
        if self.migration and self.migration.final:
            self.migration = None

    def source_collected(self) -> None:
        self.pods = {n: p for n, p in self.pods.items() if not p.terminal}

    def ovn(self) -> None:
        """Let northd and the chassis catch up with what is written, as seen on 23.03."""
        wanted = self.options.requested
        main, additional = (wanted[0], frozenset(wanted[1:])) if wanted else ("", frozenset())
        old = self.binding
        chassis = main if main in self.interfaces else ""
        if not wanted:
            chassis = old.chassis if old.chassis in self.interfaces else next(iter(sorted(self.interfaces)), "")
        self.binding = Binding(
            chassis=chassis,
            additional=additional & self.interfaces,
            requested_additional=additional,
            activated=old.activated if additional else frozenset(),
        )

    def announce(self) -> None:
        if self.on_target and (target := self.target()) and CHASSIS[target.node] in self.binding.additional:
            self.binding = replace(self.binding, activated=frozenset({CHASSIS[target.node]}))

    def do_release(self) -> None:
        if self.release:
            self.interfaces.discard(CHASSIS[self.release])

    def wipe(self) -> None:
        """Somebody deletes the northbound database."""
        self.options = ChassisOptions()

    def tick(self) -> None:
        self.now += timedelta(seconds=3)

    def facts(self) -> Facts:
        return Facts(
            instance=self.instance,
            pods=tuple(self.pods.values()),
            migrations=(self.migration,) if self.migration else (),
            binding=self.binding,
            options=self.options,
            chassis=CHASSIS,
            now=self.now,
        )

    def decide(self, seen: Facts | None = None) -> None:
        facts = seen or self.facts()
        if facts.options == self.options:  # the transaction verifies what it was decided from
            decision = decide(facts)
            self.options, self.release = decision.options, decision.release
            target = self.target()
            if seen is None and self.on_target and target and not target.terminal:
                assert CHASSIS[target.node] in self.options.requested, "the guest was cut off"

    def happen(self, event: str) -> None:
        match event:
            case "release":
                self.do_release()
            case _:
                getattr(self, event.replace(" ", "_"))()

    def settle(self) -> None:
        for _ in range(16):
            self.decide()
            self.do_release()
            self.ovn()
            self.tick()


@settings(max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.booleans()), max_size=60))
def test_the_end_is_one_chassis_and_the_right_one(events: list[tuple[str, bool]]) -> None:
    world = World()
    stale = world.facts()
    for event, late in events:
        before = world.facts()
        world.happen(event)
        if late:
            world.decide(stale)
        stale = before
    if world.instance and world.target() and not world.on_target:
        world.failed()
    elif world.on_target and world.target():
        world.moved()
        world.completed()
    world.settle()
    if world.instance is None:
        assert world.options == ChassisOptions()
    else:
        home = CHASSIS[world.instance.node]
        assert world.options == ChassisOptions(requested=(home,))
        assert world.binding.additional == frozenset()
        assert world.binding.chassis == home


@settings(max_examples=200)
@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_deciding_twice_from_the_same_facts_changes_nothing(events: list[str]) -> None:
    world = World()
    for event in events:
        world.happen(event)
        world.decide()
        again = world.options
        world.decide()
        if world.options.journal == again.journal:
            assert world.options == again

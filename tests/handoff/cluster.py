"""KubeVirt and OVN as far as one port sees them: what is true, and what can happen."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from virtnet.handoff.facts import Binding, Instance, LauncherPod, Migration, MigrationState, Told
from virtnet.handoff.journal import Journal
from virtnet.handoff.options import ChassisOptions

CHASSIS = {f"node{n}": f"ch{n}" for n in (1, 2, 3)}


class Cluster:
    """Every public method is one thing that can happen; one that cannot happen now does nothing."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.serial = 0
        self.options = ChassisOptions()
        self.binding = Binding()
        self.nics: dict[str, str] = {}
        """Pod -> chassis of NICs that claim the port."""
        self.let_go: set[str] = set()
        """Pods whose NICs have let go of the port for good."""
        self.dead: set[str] = set()
        self.unknown: set[str] = set()
        self.chassis = dict(CHASSIS)
        self.instance: Instance | None = None
        self._pods: dict[str, LauncherPod] = {}
        self._migrations: dict[str, Migration] = {}
        self.current = ""
        self.told: dict[str, Told] = {}
        self.asked: tuple[str, str] = ("", "")
        """Node and pod that were last asked to let go: the node may do so at any time."""
        self.on_target = False
        self.start()

    # ---------------------------------------------------------------- what is true

    @property
    def pods(self) -> tuple[LauncherPod, ...]:
        return tuple(self._pods.values())

    @property
    def migrations(self) -> tuple[Migration, ...]:
        return tuple(self._migrations.values())

    @property
    def running(self) -> bool:
        return self.instance is not None and not self.instance.final

    @property
    def underway(self) -> LauncherPod | None:
        """The target pod of a migration that has not ended."""
        migration = self._migrations.get(self.current)
        if not self.running or migration is None or migration.final:
            return None
        return next((p for p in self.pods if p.migration == self.current and not p.terminal), None)

    @property
    def handed_off(self) -> bool:
        return self.instance is not None and self.instance.state.uid == self.current

    @property
    def place(self) -> str:
        """The node where the guest is; empty where there is none."""
        if not self.running:
            return ""
        target = self.underway
        return target.node if self.on_target and target else self.instance.node

    # ---------------------------------------------------------------- what can happen

    def start(self) -> None:
        if self.instance is None and "node1" not in self.dead:
            self.serial += 1
            self.instance = Instance(uid=f"i{self.serial}", node="node1", phase="Running")
            self._pods[f"p{self.serial}"] = LauncherPod(name=f"p{self.serial}", node="node1")
            self.nics[f"p{self.serial}"] = "ch1"
            self.current, self.on_target = "", False

    def stop(self) -> None:
        self.instance, self._pods, self._migrations = None, {}, {}
        self.nics, self.current, self.on_target = {}, "", False

    def proceed(self) -> None:
        """The next thing that happens to a VM that is migrated again and again."""
        target = self.underway
        if target is None:
            self.migrate()
        elif not target.node:
            self.schedule()
        elif not self.handed_off:
            self.hand_off()
        elif not self.instance.state.domain_ready:
            self.ready()
        elif self.instance.node != target.node:
            self.moved()
        else:
            self.completed()

    def migrate(self) -> None:
        earlier = self._migrations.get(self.current)
        if self.running and (earlier is None or earlier.final):
            self.serial += 1
            self.current, self.on_target = f"m{self.serial}", False
            self._migrations[self.current] = Migration(uid=self.current, phase="Pending")
            self._pods[f"p{self.serial}"] = LauncherPod(name=f"p{self.serial}", migration=self.current)

    def schedule(self) -> None:
        """The VMIM may be Pending for long after this, with hotplugged volumes."""
        target = self.underway
        if target and not target.node:
            nodes = sorted(CHASSIS, reverse=self.serial % 2 == 0)  # every other time back to where it was
            node = next(n for n in nodes if n != self.instance.node and n not in self.dead)
            self._pods[target.name] = replace(target, node=node)
            self.nics[target.name] = CHASSIS[node]

    def hand_off(self) -> None:
        target = self.underway
        if target and target.node and not self.handed_off and self._bound_at(target.node):
            self._migrations[self.current] = Migration(uid=self.current, phase="Running")
            self.instance = replace(self.instance, state=MigrationState(uid=self.current))

    def ready(self) -> None:
        target = self.underway
        if target and self.handed_off and target.node not in self.dead:
            self.on_target = True
            self.instance = replace(self.instance, state=replace(self.instance.state, domain_ready=True))

    def post_copy(self) -> None:
        target = self.underway
        if target and self.handed_off and not self.on_target and target.node not in self.dead:
            self.on_target = True
            self.instance = replace(self.instance, state=replace(self.instance.state, post_copy=True))

    def moved(self) -> None:
        target = self.underway
        if target and self.on_target and self.instance.state.domain_ready:
            self.instance = replace(self.instance, node=target.node)

    def completed(self) -> None:
        target = self.underway
        if target and self.on_target and self.instance.node == target.node:
            self._migrations[self.current] = Migration(uid=self.current, phase="Succeeded")
            for pod in self.pods:
                if pod.name != target.name:
                    self._end(pod)

    def failed(self) -> None:
        """The guest goes on where it was; in post-copy it is nowhere any more."""
        target = self.underway
        if target is None or (self.on_target and self.instance.state.domain_ready):
            return
        if self.on_target:
            self._lose_guest()
            return
        if self.handed_off:
            self.instance = replace(self.instance, state=replace(self.instance.state, failed=True))
        self._migrations[self.current] = Migration(uid=self.current, phase="Failed")
        self._end(target)

    def abort(self) -> None:
        """Somebody deletes the VMIM."""
        target = self.underway
        if target and not self.on_target:
            if self.handed_off:
                self.failed()
            else:
                del self._pods[target.name]
                self.nics.pop(target.name, None)
            self._migrations.pop(self.current)

    def node_dies(self) -> None:
        """The node of the newest pod that lives: of the target, if there is one."""
        live = [pod for pod in self.pods if pod.node and not pod.terminal]
        if live and live[-1].node not in self.dead and len(self.dead) < 1:
            self.dead.add(live[-1].node)

    def node_returns(self) -> None:
        self.noticed()
        self.chassis = dict(CHASSIS)
        self.dead.clear()
        self.unknown.clear()
        live = [pod for pod in self.pods if pod.node and not pod.terminal and pod.name not in self.let_go]
        self.nics = {pod.name: CHASSIS[pod.node] for pod in live}

    def noticed(self) -> None:
        """Kubernetes and KubeVirt find out about dead nodes."""
        if self.place in self.dead:
            self._lose_guest()
        elif self.underway and self.underway.node in self.dead:
            self.failed()

    def node_object_goes(self) -> None:
        for node in self.dead:
            self.noticed()
            self.chassis.pop(node, None)

    def chassis_unknown(self) -> None:
        """A node's ovn-controller has never registered, or under another name."""
        fresh = "ch3" not in {self.binding.chassis, *self.binding.additional, *self.options.requested}
        if self.underway and not self.underway.node and fresh:
            self.unknown = {"ch3"}

    def vmims_collected(self) -> None:
        self._migrations = {uid: m for uid, m in self._migrations.items() if not m.final}

    def pods_collected(self) -> None:
        self._pods = {name: pod for name, pod in self._pods.items() if not pod.terminal}

    def ovn(self) -> None:
        """Let northd and the chassis catch up with what is written, as seen on 23.03."""
        wanted = self.options.requested
        main, additional = (wanted[0], frozenset(wanted[1:]) - self.unknown) if wanted else ("", frozenset())
        old = self.binding
        dead = {CHASSIS[node] for node in self.dead}
        able = {*self.nics.values()} - dead - self.unknown
        if wanted:
            stays = old.chassis if old.chassis in dead else ""
            chassis = main if main in able else main if main == stays else stays
        else:
            chassis = old.chassis if old.chassis in able | dead else next(iter(sorted(able)), "")
        self.binding = Binding(
            chassis=chassis,
            additional=((additional & able) | (old.additional & dead)) - {chassis},
            requested_additional=additional,
            activated=old.activated if additional or not old.requested_additional else frozenset(),
        )

    def announce(self) -> None:
        """The target's chassis says that it has heard the guest; perhaps when OVN has taken that back already."""
        target = self.underway
        if self.on_target and target and CHASSIS[target.node] in {*self.binding.additional, self.binding.chassis}:
            self.binding = replace(self.binding, activated=frozenset({CHASSIS[target.node]}))

    def ask(self) -> None:
        """The target's node asks the guest, once it has been told that it is there."""
        journal = Journal.read(self.options.journal)
        if journal is not None and journal.ready and journal.target not in self.dead:
            told = self.told.get(journal.migration, Told())
            self.told[journal.migration] = replace(told, asked=told.asked or self.now)

    def speak(self) -> None:
        """The guest sends its first frame, which opens its gate; then it answers, and the source's node has counted."""
        told = self.told.get(self.current, Told())
        if self.on_target and self.underway and self.underway.node not in self.dead:
            if told.opened is None:
                told = replace(told, opened=self.now)
            elif told.asked and told.answered is None:
                told = replace(told, answered=self.now)
            else:
                told = replace(told, carried=14)
            self.told[self.current] = told

    def daemon_dies(self) -> None:
        """That of the target's node: it forgets."""
        self.told.pop(self.current, None)

    def release(self) -> None:
        """The source's node does what it was asked, perhaps long after: the guest may be back there, in another pod."""
        node, pod = self.asked
        if node not in self.dead:
            self.nics.pop(pod, None)
            self.let_go.add(pod)

    def wipe(self) -> None:
        """Somebody deletes the northbound database."""
        self.options = ChassisOptions()

    def tick(self) -> None:
        self.now += timedelta(seconds=3)

    def _bound_at(self, node: str) -> bool:
        """What CNI ADD waits for; that a node has the port may be left of an earlier handoff."""
        return CHASSIS[node] in {self.binding.chassis, *self.binding.additional}

    def _end(self, pod: LauncherPod) -> None:
        self._pods[pod.name] = replace(pod, terminal=True)
        self.nics.pop(pod.name, None)

    def _lose_guest(self) -> None:
        self.instance = replace(self.instance, phase="Failed")
        for uid, migration in self._migrations.items():
            if not migration.final:
                self._migrations[uid] = replace(migration, phase="Failed")
        for pod in self.pods:
            self._end(pod)

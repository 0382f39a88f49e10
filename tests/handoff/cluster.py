"""KubeVirt and OVN as far as one port sees them: what can happen."""

from dataclasses import replace
from datetime import timedelta

from tests.handoff.cluster_state import CHASSIS, ClusterState
from virtnet.handoff.facts import Binding, HandoffReport, Instance, LauncherPod, Migration, MigrationState
from virtnet.handoff.journal import HandoffJournal
from virtnet.handoff.options import ChassisOptions


class SimulatedCluster(ClusterState):
    """Every public method is one thing that can happen; one that cannot happen now does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.start()

    def start(self) -> None:
        if self.instance is None and "node1" not in self.dead:
            self.serial += 1
            self.instance = Instance(uid=f"i{self.serial}", node="node1", phase="Running")
            pod = LauncherPod(name=f"p{self.serial}", node="node1", nic=self.wanted)
            self._pods[pod.name] = pod
            self._attach(pod)
            self.current, self.on_target = "", False

    def stop(self) -> None:
        self.instance, self._pods, self._migrations = None, {}, {}
        self.nics, self.current, self.on_target = {}, "", False

    def proceed(self) -> None:
        """The next thing that happens to a VM that is migrated again and again."""
        target = self.target_pod
        if target is None:
            self.migrate()
        elif not target.node:
            self.schedule()
        elif not self.handed_off:
            self.hand_off()
        elif not self.vmi.state.domain_ready:
            self.ready()
        elif self.vmi.node != target.node:
            self.moved()
        else:
            self.completed()

    def migrate(self) -> None:
        earlier = self._migrations.get(self.current)
        if self.running and (earlier is None or earlier.final):
            self.serial += 1
            self.current, self.on_target = f"m{self.serial}", False
            self._migrations[self.current] = Migration(uid=self.current, phase="Pending")
            name = f"p{self.serial}"
            self._pods[name] = LauncherPod(name=name, migration=self.current, nic=self.wanted)

    def schedule(self) -> None:
        """The VMIM may be Pending for long after this, with hotplugged volumes."""
        target = self.target_pod
        if target and not target.node:
            nodes = sorted(CHASSIS, reverse=self.serial % 2 == 0)  # every other time back to where it was
            node = next(n for n in nodes if n != self.vmi.node and n not in self.dead)
            self._pods[target.name] = replace(target, node=node)
            self._attach(self._pods[target.name])

    def hand_off(self) -> None:
        target = self.target_pod
        if target and target.node and not self.handed_off and (self.bound_at(target.node) or not target.nic):
            self._migrations[self.current] = Migration(uid=self.current, phase="Running")
            self.instance = replace(self.vmi, state=MigrationState(uid=self.current))

    def ready(self) -> None:
        target = self.target_pod
        if target and self.handed_off and target.node not in self.dead:
            self.on_target = True
            self.instance = replace(self.vmi, state=replace(self.vmi.state, domain_ready=True))

    def post_copy(self) -> None:
        target = self.target_pod
        if target and self.handed_off and not self.on_target and target.node not in self.dead:
            self.on_target = True
            self.instance = replace(self.vmi, state=replace(self.vmi.state, post_copy=True))

    def moved(self) -> None:
        target = self.target_pod
        if target and self.on_target and self.vmi.state.domain_ready:
            self.instance = replace(self.vmi, node=target.node)

    def completed(self) -> None:
        target = self.target_pod
        if target and self.on_target and self.vmi.node == target.node:
            self._migrations[self.current] = Migration(uid=self.current, phase="Succeeded")
            for pod in self.pods:
                if pod.name != target.name:
                    self._end(pod)

    def failed(self) -> None:
        """The guest goes on where it was; in post-copy it is nowhere any more."""
        target = self.target_pod
        if target is None or (self.on_target and self.vmi.state.domain_ready):
            return
        if self.on_target:
            self._lose_guest()
            return
        if self.handed_off:
            self.instance = replace(self.vmi, state=replace(self.vmi.state, failed=True))
        self._migrations[self.current] = Migration(uid=self.current, phase="Failed")
        self._end(target)

    def abort(self) -> None:
        """Somebody deletes the VMIM."""
        target = self.target_pod
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
        self.nics = {pod.name: CHASSIS[pod.node] for pod in live if pod.nic}

    def noticed(self) -> None:
        """Kubernetes and KubeVirt find out about dead nodes."""
        if self.place in self.dead:
            self._lose_guest()
        elif self.target_pod and self.target_pod.node in self.dead:
            self.failed()

    def node_object_goes(self) -> None:
        for node in self.dead:
            self.noticed()
            self.chassis.pop(node, None)

    def chassis_unknown(self) -> None:
        """A node's ovn-controller has never registered, or under another name."""
        fresh = "ch3" not in {self.binding.chassis, *self.binding.additional, *self.options.requested}
        if self.target_pod and not self.target_pod.node and fresh:
            self.unknown = {"ch3"}

    def nic_comes(self) -> None:
        """The VM is to have it: pods that are made from now on do."""
        self.wanted = True

    def nic_goes(self) -> None:
        self.wanted = False

    def plugged(self) -> None:
        """The dynamic-networks-controller, if there is one, follows in the pod that has the guest."""
        home = next((pod for pod in self.pods if pod.node and not pod.terminal and pod.node == self.place), None)
        if home is not None and home.nic != self.wanted and home.node not in self.dead:
            self._pods[home.name] = replace(home, nic=self.wanted)
            self.nics.pop(home.name, None)
            self.let_go.discard(home.name)
            self._attach(self._pods[home.name])

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
        target = self.target_pod
        if self.on_target and target and CHASSIS[target.node] in {*self.binding.additional, self.binding.chassis}:
            self.binding = replace(self.binding, activated=frozenset({CHASSIS[target.node]}))

    def ask(self) -> None:
        """The target's node asks the guest, once it has been told that it is there."""
        journal = HandoffJournal.read(self.options.journal)
        if self.link and journal is not None and journal.ready and journal.target not in self.dead:
            report = self.reports.get(journal.migration, HandoffReport())
            self.reports[journal.migration] = replace(report, probed=report.probed or self.now)

    def speak(self) -> None:
        """The guest sends its first frame, which opens its gate; then it answers, and the source's node has counted."""
        report = self.reports.get(self.current, HandoffReport())
        if self.link and self.on_target and self.target_pod and self.target_pod.node not in self.dead:
            if report.gate_opened is None:
                report = replace(report, gate_opened=self.now)
            elif report.probed and report.answered is None:
                report = replace(report, answered=self.now)
            else:
                report = replace(report, forwarded_frames=14)
            self.reports[self.current] = report

    def daemon_dies(self) -> None:
        """That of the target's node: it forgets."""
        self.reports.pop(self.current, None)

    def release(self) -> None:
        """The source's node does what it was asked, perhaps long after: the guest may be back there, in another pod."""
        node, pod = self.to_release
        if node not in self.dead:
            self.nics.pop(pod, None)
            self.let_go.add(pod)

    def wipe(self) -> None:
        """Somebody deletes the northbound database."""
        self.options = ChassisOptions()

    def tick(self) -> None:
        self.now += timedelta(seconds=3)

    def _attach(self, pod: LauncherPod) -> None:
        if pod.nic:
            self.nics[pod.name] = CHASSIS[pod.node]

    def _end(self, pod: LauncherPod) -> None:
        self._pods[pod.name] = replace(pod, terminal=True)
        self.nics.pop(pod.name, None)

    def _lose_guest(self) -> None:
        self.instance = replace(self.vmi, phase="Failed")
        for uid, migration in self._migrations.items():
            if not migration.final:
                self._migrations[uid] = replace(migration, phase="Failed")
        for pod in self.pods:
            self._end(pod)

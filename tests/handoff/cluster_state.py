"""KubeVirt and OVN as far as one port sees them: what is true."""

from datetime import UTC, datetime

from virtnet.handoff.facts import Binding, HandoffReport, Instance, LauncherPod, Migration
from virtnet.handoff.options import ChassisOptions

CHASSIS = {f"node{n}": f"ch{n}" for n in (1, 2, 3)}


class ClusterState:
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
        self.reports: dict[str, HandoffReport] = {}
        self.to_release: tuple[str, str] = ("", "")
        """Node and pod that were last asked to let go: the node may do so at any time."""
        self.on_target = False
        self.link = True
        """Whether nodes have a link of the NIC, at which they hear the guest."""
        self.wanted = True
        """Whether the VM is to have the NIC: what a pod is made with."""

    @property
    def pods(self) -> tuple[LauncherPod, ...]:
        return tuple(self._pods.values())

    @property
    def migrations(self) -> tuple[Migration, ...]:
        return tuple(self._migrations.values())

    @property
    def vmi(self) -> Instance:
        """The VMI, of which something happens only where there is one."""
        assert self.instance is not None
        return self.instance

    @property
    def running(self) -> bool:
        return self.instance is not None and not self.instance.final

    @property
    def target_pod(self) -> LauncherPod | None:
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
        target = self.target_pod
        return target.node if self.on_target and target else self.vmi.node

    def bound_at(self, node: str) -> bool:
        """What CNI ADD waits for; that a node has the port may be left of an earlier handoff."""
        return CHASSIS[node] in {self.binding.chassis, *self.binding.additional}

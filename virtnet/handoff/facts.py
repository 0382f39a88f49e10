"""What a handoff is decided from: frozen copies of what KubeVirt and OVN say at one moment.

Where the words are KubeVirt's, so is their meaning; see pkg/virt-controller/watch/migration and pkg/virt-handler there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from virtnet.handoff.journal import Journal
from virtnet.handoff.options import ChassisOptions


@dataclass(frozen=True, kw_only=True)
class LauncherPod:
    """One pod that may hold the NIC: a VM's launcher, or an ordinary pod."""

    name: str
    node: str = ""
    """spec.nodeName; empty while unscheduled. The label kubevirt.io/nodeName lags behind and is not read."""
    terminal: bool = False
    """Phase Succeeded or Failed: a former source or an aborted target, whatever its labels say."""
    deleting: bool = False
    migration: str = ""
    """Label kubevirt.io/migrationJobUID. It stays for ever, so it means something only beside a live migration."""


@dataclass(frozen=True, kw_only=True)
class Migration:
    """A VirtualMachineInstanceMigration."""

    uid: str
    phase: str = ""

    @property
    def final(self) -> bool:
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, kw_only=True)
class MigrationState:
    """status.migrationState of the VMI; that of the *last* migration until the next one is handed to virt-handler."""

    uid: str = ""
    domain_ready: bool = False
    """targetNodeDomainReadyTimestamp is set: the guest runs on the target."""
    failed: bool = False
    """Comes together with completed, so it must be asked first."""
    post_copy: bool = False
    """mode PostCopy: the source has stopped for good, though the target may not have told yet that the guest runs."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A VirtualMachineInstance."""

    uid: str
    node: str = ""
    phase: str = ""
    state: MigrationState = field(default_factory=MigrationState)

    @property
    def final(self) -> bool:
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, kw_only=True)
class Binding:
    """The southbound Port_Binding: who has the port. Chassis names throughout."""

    chassis: str = ""
    additional: frozenset[str] = frozenset()
    requested_additional: frozenset[str] = frozenset()
    activated: frozenset[str] = frozenset()
    """options:additional-chassis-activated."""
    up: bool = False


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the two nodes have told of one migration, by their own clocks."""

    opened: datetime | None = None
    """When the guest's first frame on the target opened its gate."""
    asked: datetime | None = None
    """When the target began to ask the guest whether it is there."""
    answered: datetime | None = None
    """When the guest answered."""
    carried: int | None = None
    """How many frames the source sent on that its guest never read."""
    undrained: str = ""
    """Why the source sends nothing on."""

    @property
    def silent(self) -> bool:
        """Whether the guest was asked, and has not answered."""
        return self.asked is not None and self.answered is None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that one port's chassis options are decided from."""

    instance: Instance | None = None
    """None for an ordinary pod, and for a stopped VM."""
    pods: tuple[LauncherPod, ...] = ()
    migrations: tuple[Migration, ...] = ()
    binding: Binding = field(default_factory=Binding)
    options: ChassisOptions = field(default_factory=ChassisOptions)
    """What the port has now."""
    chassis: Mapping[str, str] = field(default_factory=dict)
    """Node name -> chassis name."""
    gateless: Mapping[str, str] = field(default_factory=dict)
    """Node name -> why it cannot hold frames back from a guest that is to arrive."""
    strategies: Mapping[str, str] = field(default_factory=dict)
    """Node name -> the strongest activation strategy that its OVN knows."""
    told: Mapping[str, Told] = field(default_factory=dict)
    """What the nodes have told, by the migration's UID."""
    now: datetime

    @property
    def live(self) -> tuple[LauncherPod, ...]:
        """Pods that have a node and may still run the guest."""
        return tuple(pod for pod in self.pods if pod.node and not pod.terminal)

    def migration(self, uid: str) -> Migration | None:
        return next((m for m in self.migrations if m.uid == uid), None)

    def state(self, migration: str) -> MigrationState:
        """What the VMI says of this very migration; nothing while it still shows the last one."""
        state = self.instance.state if self.instance else MigrationState()
        return state if state.uid == migration else MigrationState(uid=migration)

    def told_of(self, journal: Journal) -> Told:
        return self.told.get(journal.migration, Told())

    def target_pod(self, migration: str) -> LauncherPod | None:
        return next((pod for pod in self.pods if pod.migration == migration), None)

    def said_late(self, chassis: str) -> frozenset[str]:
        """Who says that it is activated although OVN has left the port to this chassis alone: OVN 25.03 keeps that."""
        followed = self.options.requested == (chassis,) and not self.binding.requested_additional
        return self.binding.activated if followed else frozenset()

"""What a handoff is decided from: frozen copies of what KubeVirt and OVN say at one moment.

Where the words are KubeVirt's, so is their meaning; see pkg/virt-controller/watch/migration and pkg/virt-handler there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from virtnet.handoff.journal import HandoffJournal
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
    nic: bool = True
    """Whether it has the port's NIC, or gets it with its sandbox. A NIC that came to a VM may be in no pod yet, or only
    in the target of a migration, which KubeVirt starts to bring it.
    """


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
    """mode PostCopy: the source has stopped for good, though the target may not report yet that the guest runs."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A VirtualMachineInstance."""

    uid: str
    node: str = ""
    phase: str = ""
    paused: bool = False
    """Condition Paused: its owner has stopped the guest, which answers nobody for as long."""
    state: MigrationState = field(default_factory=MigrationState)

    @property
    def final(self) -> bool:
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Binding:
    """The southbound Port_Binding: who has the port. Chassis names throughout."""

    chassis: str = ""
    additional: frozenset[str] = frozenset()
    requested_additional: frozenset[str] = frozenset()
    activated: frozenset[str] = frozenset()
    """options:additional-chassis-activated."""
    up: bool = False


@dataclass(frozen=True, kw_only=True)
class HandoffReport:
    """What the two nodes report of one migration, by their own clocks."""

    gate_opened: datetime | None = None
    """When the guest's first frame on the target opened its gate."""
    probed: datetime | None = None
    """When the target began to probe the guest by ARP or neighbour discovery."""
    answered: datetime | None = None
    """When the guest answered."""
    forwarded_frames: int | None = None
    """How many frames that its guest never read the source has forwarded."""
    drain_error: str = ""
    """Why the source forwards nothing."""
    paused: bool = False
    """Whether the guest is paused, so that nobody can expect it to answer."""
    link: bool = True
    """Whether nodes have a link at which they can probe the guest."""

    @property
    def silent(self) -> bool:
        """Whether the guest was probed, and has not answered though it could."""
        return self.probed is not None and self.unanswered

    @property
    def unanswered(self) -> bool:
        """Whether nothing proves that a guest that is to run does."""
        return self.answered is None and self.link and not self.paused


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that one port's chassis options are decided from."""

    instance: Instance | None = None
    """None for an ordinary pod, and for a stopped VM."""
    link: bool = True
    """Whether the NIC's kind has a link on nodes, where there can be a gate, and its guest can be probed."""
    pods: tuple[LauncherPod, ...] = ()
    migrations: tuple[Migration, ...] = ()
    binding: Binding = field(default_factory=Binding)
    options: ChassisOptions = field(default_factory=ChassisOptions)
    """What the port has now."""
    chassis: Mapping[str, str] = field(default_factory=dict)
    """Node name -> chassis name."""
    fallback_reasons: Mapping[str, str] = field(default_factory=dict)
    """Node name -> why it has no gate for a guest that is to arrive, so that OVN's activation strategy is used."""
    strategies: Mapping[str, str] = field(default_factory=dict)
    """Node name -> the strongest activation strategy that its OVN knows."""
    reports: Mapping[str, HandoffReport] = field(default_factory=dict)
    """What the nodes report, by the migration's UID."""
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

    def report_of(self, journal: HandoffJournal) -> HandoffReport:
        report = self.reports.get(journal.migration, HandoffReport())
        paused = self.instance is not None and self.instance.paused
        return replace(report, paused=paused, link=self.link)

    def target_pod(self, migration: str) -> LauncherPod | None:
        return next((pod for pod in self.pods if pod.migration == migration), None)

    def said_late(self, chassis: str) -> frozenset[str]:
        """Who says that it is activated although OVN has left the port to this chassis alone: OVN 25.03 keeps that."""
        followed = self.options.requested == (chassis,) and not self.binding.requested_additional
        return self.binding.activated if followed else frozenset()

"""The collections of what OVN has of our objects, and of what features tell each other once it is committed."""

from dataclasses import dataclass

from virtnet.engine.collection import Collection
from virtnet.handoff.facts import Binding, LauncherPod
from virtnet.handoff.journal import HandoffJournal
from virtnet.handoff.machine import Ending
from virtnet.topology.rows import Row


@dataclass(frozen=True, slots=True)
class PortBinding:
    """Where OVN has a port (southbound Port_Binding), and what tunnels call it."""

    binding: Binding
    tunnel_keys: tuple[int, int] | None
    """Of its switch and of itself; None where they are not known yet."""


BINDINGS: Collection[PortBinding] = Collection("PortBinding", urgent=True)
"""By the Port's key."""


@dataclass(frozen=True, slots=True)
class Chassis:
    """A chassis that OVN knows (southbound Chassis and Encap)."""

    name: str
    addresses: frozenset[str]
    """Of its tunnels."""


CHASSIS: Collection[Chassis] = Collection("Chassis", indexes={"address": lambda chassis: chassis.addresses})
"""By their names."""

ROWS: Collection[tuple[Row, ...]] = Collection("Rows", relevant=bool)
"""The rows that OVN's northbound database has of an object, by the object's own key; others may depend on whether
there are any."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What became of an object's rows when they were last written."""

    generation: int
    """The object's metadata.generation that OVN has."""
    error: str = ""
    """Why a later one is not in OVN yet."""
    lacks: tuple[str, ...] = ()
    """Tables and columns that this OVN lacks for it."""


COMMITS: Collection[Commit] = Collection("Commit")
"""By the object's own key."""


@dataclass(frozen=True)
class PendingHandoff:
    """What a handoff waits for, for people."""

    text: str
    patient: bool
    """Whether it may take as long as it likes."""
    stuck: bool = False
    """Whether it has taken too long."""


PENDING_HANDOFFS: Collection[PendingHandoff] = Collection("PendingHandoff")
"""By the Port's key."""

ENDINGS: Collection[Ending] = Collection("Ending", urgent=True)
"""By the Port's key: a handoff that has ended, while its Port's status does not say so yet."""


@dataclass(frozen=True)
class HandoffAssignment:
    """A Port's handoff as its nodes are to take part in it."""

    port: str
    """The Port's key, ``namespace/name``."""
    journal: HandoffJournal | None
    """None: there is no handoff (any more), and whoever was asked for something is to stop."""
    sole_target: LauncherPod | None = None
    """A migration's target that has the port without a handoff."""
    release: bool = False
    """Whether the source is to let go of the port."""
    tunnel_keys: tuple[int, int] | None = None
    """What tunnels call its switch and itself; None where that is not known yet."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that take part."""
        if self.journal:
            return (self.journal.source, self.journal.target)
        return (self.sole_target.node,) if self.sole_target else ()


ASSIGNMENTS: Collection[HandoffAssignment] = Collection(
    "Assignment", indexes={"node": lambda one: one.nodes}, urgent=True
)
"""By the Port's key."""

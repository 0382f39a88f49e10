"""All that this node does in handoffs: its parts, called in the order in which guests wait for them."""

from collections.abc import Awaitable, Callable

from virtnet.api import HandoffSupport, NodeHandoffStatus, NodeNetwork
from virtnet.node.attach import Attacher
from virtnet.node.handoff import HandoffPart, merged
from virtnet.node.handoff.announcements import Announcer
from virtnet.node.handoff.drains import Drains
from virtnet.node.handoff.gates import Gates
from virtnet.node.handoff.liveness import LivenessProbes
from virtnet.node.handoff.releases import Releases


class NodeHandoffs:
    """Used from one event loop."""

    def __init__(self, attacher: Attacher, gates: Gates, announcer: Announcer) -> None:
        self.here = gates.here
        self._gates = gates
        self._releases = Releases(attacher)
        self._drains = Drains(gates.here, attacher.journal, attacher.hook, gates.keys, gates.local, self._drained)
        probes = LivenessProbes(gates.here, attacher.journal, attacher.hook, self._changed)
        self._arriving: tuple[HandoffPart, ...] = (gates, probes, announcer)
        self._leaving: tuple[HandoffPart, ...] = (self._releases, self._drains)
        self._no_gate: str | None = None
        """Why this kernel has no gates; None while nobody has tried."""
        self._listeners: list[tuple[Callable[[], None], Callable[[], None]]] = []
        gates.on_open(announcer.arrived)
        gates.on_open(lambda _: self._changed())
        gates.on_shut(self._changed)

    def on_change(self, at_once: Callable[[], None], later: Callable[[], None]) -> None:
        """Call back when ``follow`` is due, or there is news to report; ``later`` where nobody waits for that."""
        self._listeners.append((at_once, later))

    async def follow(self, own: NodeNetwork, refresh: Callable[[], Awaitable[NodeNetwork]]) -> NodeNetwork:
        """Act on the assignments of this node; returns its NodeNetwork as it is known by then.

        First what guests wait for: ``refresh`` reads the object from the API server, which may take its time. It is
        read before a port is released, for the watch may be behind, and a handoff over: nothing is released by mistake.
        Raises OvnError, OSError, and what ``refresh`` raises.
        """
        for part in self._arriving:
            await part.follow(own.spec.handoffs)
        self._releases.remember(own.status.handoffs)
        due = self._releases.due(own.spec.handoffs)
        if due:
            await self._drains.finish(due)
            own = await refresh()
        for part in self._leaving:
            await part.follow(own.spec.handoffs)
        return own

    def statuses(self, own: NodeNetwork) -> dict[str, NodeHandoffStatus]:
        """What is reported of the handoffs of this node, by Port."""
        return merged(part.statuses(own.spec.handoffs) for part in (*self._leaving, *self._arriving))

    async def support(self) -> HandoffSupport:
        """What this node can do for live migrations."""
        if self._no_gate is None:
            self._no_gate = await self._gates.obstacle()
        no_drain = self._drains.obstacle()
        return HandoffSupport(
            gate=not self._no_gate,
            gate_message=self._no_gate,
            drain=not no_drain,
            drain_message=no_drain,
            public_key=self._gates.keys.public,
        )

    def _changed(self) -> None:
        for at_once, _ in self._listeners:
            at_once()

    def _drained(self) -> None:
        """Nobody waits for the count of frames."""
        for _, later in self._listeners:
            later()

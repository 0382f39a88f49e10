"""What the controller would write to OVN now, for people who look before it does, or in its place.

The same code as the controller's, once and from one list of every kind. Handoffs are left as they stand: only who
watches a migration from its beginning to its end may move a port.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from virtnet.api.meta import uid_of
from virtnet.controllers.lost_objects import COMPILED, note_lost
from virtnet.controllers.metrics import Metrics
from virtnet.controllers.state import COMPILE, COMPILERS, ControllerState
from virtnet.controllers.worker import Queue
from virtnet.controllers.writer import Writer
from virtnet.engine.due import Task
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import Outcome
from virtnet.features.handoff_facts import options_of
from virtnet.features.ovn_state import BINDINGS, PortBinding
from virtnet.features.sources import MIGRATIONS, PORTS
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound
from virtnet.kube.kinds import CRDS
from virtnet.kube.watched import BY_CONTROLLER
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.ovn.southbound import Southbound
from virtnet.topology.rows import Row
from virtnet.topology.transaction import Transaction

LOCK = "virtnet"


@dataclass(frozen=True)
class Preview:
    """One look at a cluster and its OVN."""

    northbound: OvsdbNorthbound
    state: ControllerState
    writer: Writer
    queue: Queue[Task]

    @classmethod
    @asynccontextmanager
    async def of(cls, cluster: Cluster, northbound: str, southbound: str, *, lock: str = "") -> AsyncIterator[Self]:
        """With ``lock``, stand in line for the right to write. Raises ApiError and OvnError."""
        state = ControllerState()
        async with OvsdbNorthbound(northbound, lock=lock, kinds=COMPILERS) as nb, Southbound(southbound) as sb:
            await fill(cluster, state)
            note_lost(state, nb, await _definitions(cluster))
            queue: Queue[Task] = Queue("rows")
            writer = Writer(state, nb, queue, lambda _: None, Metrics().transactions)
            for port in sb.ports():
                binding = sb.binding(port)
                bound = PortBinding(binding, sb.tunnel_keys(port)) if binding else None
                state.tell(BINDINGS, ObjectKey.named(PORTS.kind, port), bound)
            yield cls(nb, state, writer, queue)

    def transaction(self) -> Transaction:
        """Everything that is to be written now."""
        self.writer.observe(row.key for row in self.northbound.observed())
        for task in {*self.state.graph.due(), *self.state.graph.tasks()}:
            if task.name == COMPILE:
                self.queue.add(task)
        outcomes: dict[ObjectKey, Outcome] = {}
        while found := self.writer.compile():
            outcomes |= found
        return Transaction(self.writer.plan({key: stand(key, one, self._rows(key)) for key, one in outcomes.items()}))

    def _rows(self, key: ObjectKey) -> list[Row]:
        return self.northbound.of(str(key))


async def fill(cluster: Cluster, state: ControllerState) -> None:
    """List everything once, but for migrations, so that no handoff is begun. Raises ApiError.

    A kind of others that is not served has no objects.
    """
    for source in BY_CONTROLLER:
        if source.collection is MIGRATIONS:
            continue
        try:
            items, _ = await cluster.list(source.kind, labels=source.labels)
        except NotFound:
            if source.required:
                raise
            continue
        for body in items:
            state.put(source.kind, body)


async def _definitions(cluster: Cluster) -> dict[str, str]:
    """Kind -> UID of its definition, of those that OVN has rows of. Raises ApiError."""
    found = {model.__name__: await cluster.get(CRDS, str(kinds.of(model)), metadata_only=True) for model in COMPILED}
    return {kind: uid_of(body) for kind, body in found.items()}


def stand(key: ObjectKey, outcome: Outcome, observed: list[Row]) -> Outcome:
    """A port where it is: one in a handoff keeps its rows, with options and journal."""
    journal = key.kind == PORTS.kind and outcome.rows and options_of(key.key, observed).journal
    return Outcome(None) if journal else outcome

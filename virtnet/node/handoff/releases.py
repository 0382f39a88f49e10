"""The source releases a port once its guest runs elsewhere, so that the target can have it.

A release is done once: a guest that comes back to this node while its report still stands must not lose its new NIC.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from virtnet.api import NodeHandoff, NodeHandoffStatus
from virtnet.node.attach import Attacher
from virtnet.node.handoff import HandoffKey
from virtnet.node.journal import Entry


def leaves(entry: Entry, part: NodeHandoff) -> bool:
    """Whether a NIC is the one from which the guest goes."""
    return entry.state == "Attached" and entry.pod_name == part.pod


class Releases:
    """The ports that this node has released."""

    def __init__(self, attacher: Attacher) -> None:
        self._attacher = attacher
        self._done: dict[HandoffKey, NodeHandoffStatus] = {}

    def remember(self, reported: Mapping[str, NodeHandoffStatus]) -> None:
        """Take over what the node's status says: the daemon before this one has done that."""
        for port, status in reported.items():
            if status.released_at is not None:
                self._done.setdefault((port, status.migration), status)

    def due(self, handoffs: Mapping[str, NodeHandoff]) -> set[HandoffKey]:
        """The releases that are requested and not done yet."""
        return {
            (port, part.migration)
            for port, part in handoffs.items()
            if part.role == "Source" and part.release_requested and (port, part.migration) not in self._done
        }

    async def follow(self, handoffs: Mapping[str, NodeHandoff]) -> None:
        """Do those that are due. Raises OvnError.

        By then the guest may be on its way back: a NIC that was attached for that keeps the port.
        """
        for port, migration in sorted(self.due(handoffs)):
            moments = []
            for entry in self._attacher.journal.of_port(port):
                if leaves(entry, handoffs[port]):
                    released = await self._attacher.release(entry)
                    moments += [released.released_at] if released and released.released_at else []
            moment = max(moments, default=datetime.now(UTC))
            self._done[port, migration] = NodeHandoffStatus(migration=migration, released_at=moment)

    def statuses(self, handoffs: Mapping[str, NodeHandoff]) -> dict[str, NodeHandoffStatus]:
        """When each port was released."""
        current = {(port, part.migration) for port, part in handoffs.items()}
        self._done = {key: status for key, status in self._done.items() if key in current}
        return {port: status for (port, _), status in self._done.items()}

"""The source's part in a handoff: it lets go of the port once the guest runs elsewhere, so that the target can have it.

The controller asks (NodeNetwork.spec.handoffs), the node answers (status.handoffs). What is asked for is done once: a
guest that comes back to this node while the answer still stands there must not lose its new NIC. The drain of frames
that came too late for the source belongs beside it.
"""

from datetime import UTC, datetime

from virtnet.api import NodeHandoff, NodeHandoffStatus, NodeNetwork
from virtnet.node.attach import Attacher
from virtnet.node.journal import Entry


def leaves(entry: Entry, part: NodeHandoff) -> bool:
    """Whether a NIC is the one from which the guest goes."""
    return entry.state == "Attached" and entry.pod_name == part.pod


class Releases:
    """Ports that this node was asked to let go of."""

    def __init__(self, attacher: Attacher) -> None:
        self._attacher = attacher
        self._done: dict[tuple[str, str], datetime] = {}
        """By port and migration."""

    def pending(self, known: NodeNetwork) -> dict[str, NodeHandoff]:
        """What is asked for and not done yet, by port."""
        answered = self._answered(known)
        asked = {port: part for port, part in known.spec.handoffs.items() if part.role == "Source" and part.release}
        return {port: part for port, part in asked.items() if port not in answered}

    async def let_go(self, known: NodeNetwork) -> None:
        """Do what is asked for. Raises OvnError.

        By then the guest may be on its way back: a NIC that was attached for that keeps the port.
        """
        for port, part in self.pending(known).items():
            moments = []
            for entry in self._attacher.journal.of_port(port):
                if leaves(entry, part):
                    released = await self._attacher.release(entry)
                    moments += [released.released_at] if released and released.released_at else []
            self._done[port, part.migration] = max(moments, default=datetime.now(UTC))

    def answers(self, known: NodeNetwork) -> dict[str, NodeHandoffStatus]:
        """What the controller is to be told: entries of handoffs that are over are not among it."""
        current = {(port, part.migration) for port, part in known.spec.handoffs.items()}
        self._done = {asked: moment for asked, moment in self._done.items() if asked in current}
        return self._answered(known)

    def _answered(self, known: NodeNetwork) -> dict[str, NodeHandoffStatus]:
        answers = {}
        for port, part in known.spec.handoffs.items():
            told = known.status.handoffs.get(port)
            done = self._done.get((port, part.migration))
            if done is not None:
                answers[port] = NodeHandoffStatus(migration=part.migration, released_at=done)
            elif told is not None and told.migration == part.migration and told.released_at is not None:
                answers[port] = told
        return answers

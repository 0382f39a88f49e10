"""What the controller assigns to this node in handoffs, as ADD and DEL need to know it.

A guest may come back to a node before OVN has heard that it had left: the port is still requested there, and a new NIC
would be bound at once, on the strength of the handoff before. So the NIC of a migration's target claims its port only
when the controller has armed that very migration.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from virtnet.api import HandoffPath, NodeHandoff
from virtnet.node.journal import Entry


class Assignments:
    """The handoffs in the node's own NodeNetwork, by Port. Used from one event loop."""

    def __init__(self) -> None:
        self._handoffs: Mapping[str, NodeHandoff] = {}
        self._changed = asyncio.Event()

    def replace(self, handoffs: Mapping[str, NodeHandoff]) -> None:
        """Take in what the watch has seen."""
        self._handoffs = handoffs
        self._changed.set()
        self._changed = asyncio.Event()

    def is_target(self, entry: Entry) -> bool:
        """Whether the port is being handed over to this NIC."""
        part = self._handoffs.get(entry.attachment.port)
        return part is not None and (part.role, part.migration) == ("Target", entry.migration)

    def path_of(self, entry: Entry) -> HandoffPath | None:
        """The path to where the guest of this NIC goes, if it leaves the node."""
        part = self._handoffs.get(entry.attachment.port)
        return part.path if part is not None and (part.role, part.pod) == ("Source", entry.pod_name) else None

    async def armed(self, entry: Entry, patience: float) -> bool:
        """Whether it is, at the latest after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not self.is_target(entry):
                    await self._changed.wait()
        return self.is_target(entry)

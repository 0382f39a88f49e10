"""The node's part in handoffs, in parts that each follow what the controller assigns and report what they have done.

On the target a gate holds back what goes to the guest until it has come (gates.py, gate_capture.py), which then tells
the source so (cut_over_marker.py, keys.py); the guest is probed (liveness.py) and announced to its physical network
(announcements.py). On the source the port is released (releases.py), its flow held a moment longer (flow_hold.py), and
what the guest never read forwarded (drains.py, taps.py, geneve.py). ``node_handoffs.py`` calls the parts.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from virtnet.api import NodeHandoff, NodeHandoffStatus

HandoffKey = tuple[str, str]
"""Of a handoff: the Port, as namespace/name, and the UID of the migration."""


class HandoffPart(Protocol):
    """One thing that a node does in handoffs."""

    async def follow(self, handoffs: Mapping[str, NodeHandoff]) -> None:
        """Do what the assignments ask for, by Port; undo what they do not ask for any more. Safe to repeat."""
        ...

    def statuses(self, handoffs: Mapping[str, NodeHandoff]) -> Mapping[str, NodeHandoffStatus]:
        """What is reported of these assignments, by Port; nothing of handoffs that are over."""
        ...


def merged(reports: Iterable[Mapping[str, NodeHandoffStatus]]) -> dict[str, NodeHandoffStatus]:
    """The reports of all parts as one, by Port. What a later one says of a field counts."""
    found: dict[str, NodeHandoffStatus] = {}
    for report in reports:
        for port, status in report.items():
            known = found.get(port)
            said = {name: value for name, value in status if value not in (None, "")}
            found[port] = status if known is None else known.model_copy(update=said)
    return found

"""How links count that come and go: a status that follows each flap helps nobody."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from virtnet.node.devices.found import LinkState, Netdev

STEADY_SECONDS = 10.0
"""That a link which has come back must stay up before it counts as up."""


@dataclass(frozen=True)
class Counted:
    """How one link counts."""

    state: LinkState
    carrier_changes: int
    back_since: float | None = None
    """When it was first seen up again, while it does not count as up."""


def count(before: Mapping[str, Counted], interfaces: Iterable[Netdev], now: float) -> dict[str, Counted]:
    """How the links of interfaces count now, by their names."""
    return {one.name: _counted(before.get(one.name), one, now) for one in interfaces}


def due(counted: Mapping[str, Counted]) -> float | None:
    """When to look again because of time alone; None: at no time."""
    return min(
        (one.back_since + STEADY_SECONDS for one in counted.values() if one.back_since is not None), default=None
    )


def _counted(before: Counted | None, interface: Netdev, now: float) -> Counted:
    changes = interface.carrier_changes
    if before is None or interface.link != "Up" or before.state == interface.link:
        return Counted(interface.link, changes)
    since = now if before.back_since is None or changes != before.carrier_changes else before.back_since
    if now - since >= STEADY_SECONDS:
        return Counted("Up", changes)
    return Counted(before.state, changes, since)

"""Deletion of what others stand on: taken at once, and carried out when the last of them has gone."""

from virtnet.api.meta import DELETING
from virtnet.api.names import IN_USE
from virtnet.engine.outcome import ConditionState


def deleting_state(user: str) -> ConditionState:
    """The condition. ``user``: who still uses it; empty where it is not deleted, or used by nobody."""
    if not user:
        return ConditionState(DELETING, holds=False, reason="Unused")
    return ConditionState(DELETING, holds=True, reason="InUse", message=f"waits for {user}; goes with the last of them")


def finalizers_after(finalizers: tuple[str, ...], *, kept: bool) -> tuple[str, ...]:
    """The finalizers that an object should have. ``kept``: ours too, as until it is deleted and used by nobody."""
    others = tuple(one for one in finalizers if one != IN_USE)
    return (*others, IN_USE) if kept else others

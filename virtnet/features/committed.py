"""Ready, by one rule for all kinds: free of obstacles, and in OVN."""

from virtnet.api import Resource
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import ConditionState, not_ready, ready
from virtnet.features.obstacles import Obstacle
from virtnet.features.ovn_state import COMMITS

UNSUPPORTED = "UnsupportedByOvn"
"""Condition of an object that this OVN has no table or column for; there is none where it has them all."""


def support(key: ObjectKey, reader: Reader) -> ConditionState:
    """Whether this OVN has what the rows of an object need."""
    commit = reader.get(COMMITS, key)
    if commit is None or not commit.lacks:
        return ConditionState(UNSUPPORTED, holds=False, reason="Supported")
    message = f"this OVN's northbound database has no {', '.join(commit.lacks)}; update OVN to have all of it"
    return ConditionState(UNSUPPORTED, holds=True, reason="Missing", message=message, announced=True)


def readiness(resource: Resource, obstacle: Obstacle | None, reader: Reader) -> ConditionState:
    """The Ready condition of an object whose rows are compiled."""
    if obstacle is not None:
        return not_ready(obstacle.reason, obstacle.message)
    commit = reader.get(COMMITS, ObjectKey.of(resource))
    if commit is None or commit.generation < resource.metadata.generation:
        return not_ready("Pending", (commit and commit.error) or "not written to OVN yet")
    return ready()

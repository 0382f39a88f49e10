"""The controller's memory, filled by hand."""

from datetime import UTC, datetime
from typing import Any

from virtnet.api import Resource
from virtnet.controllers.state import ControllerState
from virtnet.kube import kinds


def put(state: ControllerState, resource: Resource, *, version: str = "1", **metadata: Any) -> None:
    """An object as a watch would tell it."""
    body = resource.manifest()
    body["metadata"] |= {"uid": resource.key, "resourceVersion": version, "generation": 1}
    body["metadata"] |= {"creationTimestamp": datetime(2026, 1, 1, tzinfo=UTC).isoformat(), **metadata}
    state.put(kinds.of(type(resource)), body)

"""What virtnet reads of the kinds that make ordinary pods."""

from collections.abc import Mapping
from typing import Any


def owning_stateful_set(pod: Mapping[str, Any]) -> str:
    """The name of the StatefulSet that a pod is of; empty for any other pod."""
    for owner in pod["metadata"].get("ownerReferences") or ():
        if owner.get("controller") and owner["kind"] == "StatefulSet" and owner["apiVersion"].startswith("apps/"):
            return str(owner["name"])
    return ""

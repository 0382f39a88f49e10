"""Times and conditions, as Kubernetes writes them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

ConditionBody = dict[str, Any]


def now() -> str:
    """A metav1.Time: whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def go_time(text: str) -> str:
    """A metav1.Time as Go's ``Time.String()`` has it, which is how KubeVirt writes one into an annotation.

    >>> go_time("2026-11-24T03:01:25Z")
    '2026-11-24 03:01:25 +0000 UTC'
    """
    return text.replace("T", " ").replace("Z", " +0000 UTC")


def find(conditions: Iterable[ConditionBody], kind: str) -> ConditionBody | None:
    return next((condition for condition in conditions if condition["type"] == kind), None)


def is_true(conditions: Iterable[ConditionBody], kind: str) -> bool:
    return (find(conditions, kind) or {}).get("status") == "True"


def put(conditions: list[ConditionBody], new: ConditionBody) -> None:
    """Set a condition in place, unless it says the same already; its time is that of the last change of status."""
    old = find(conditions, new["type"])
    if old is None:
        conditions.append(new)
        return
    said = ("status", "reason", "message")
    if all(old.get(field) == new.get(field) for field in said):
        return
    if old["status"] == new["status"]:
        new = {**new, "lastTransitionTime": old["lastTransitionTime"]}
    conditions[conditions.index(old)] = new

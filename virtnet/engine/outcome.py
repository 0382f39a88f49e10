"""What comes of looking at an object: rows for OVN, what follows once they are committed, and what people see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from virtnet.api import Condition, Resource, Spec, set_condition
from virtnet.engine.collection import Collection
from virtnet.engine.keys import ObjectKey
from virtnet.topology.rows import Row


@dataclass(frozen=True)
class Publish:
    """Something that others may depend on, once it is committed; None where there is nothing more to say."""

    collection: Collection[Any]
    key: ObjectKey
    value: object | None


@dataclass(frozen=True)
class Outcome:
    """What must be true in OVN now, and what follows."""

    rows: Sequence[Row] | None = ()
    """All rows of the object. None: whatever OVN has of it stays as it is."""
    effects: tuple[object, ...] = ()
    """Carried out after the commit, in this order, from a queue of their own; ``Publish`` at once."""
    again: timedelta | None = None
    """Look again after this time, even if nothing happens."""
    unfinished: bool = False
    """Whether there is more to decide once OVN has these rows."""


@dataclass(frozen=True)
class ConditionState:
    """One condition of an object, as it is now."""

    type: str
    holds: bool
    reason: str
    message: str = ""
    announced: bool = False
    """Whether people are told by an Event when it comes to hold."""
    always: bool = False
    """Whether it is there also where it has never held."""


READY = "Ready"


@dataclass(frozen=True)
class Announcement:
    """An Event, once what it tells of is written into the object's status."""

    reason: str
    message: str
    warning: bool = False
    subject: object = None
    """What it is about, for whoever counts it."""


@dataclass(frozen=True)
class Report:
    """What people, and nodes, are told of an object."""

    conditions: tuple[ConditionState, ...] = ()
    status: Mapping[str, object] = field(default_factory=dict)
    """Fields of the status beside the conditions."""
    others: frozenset[str] = frozenset()
    """Fields of the status that somebody else writes."""
    shared: bool = False
    """Whether the status is somebody else's, and only these conditions are ours."""
    request: Mapping[str, Any] = field(default_factory=dict)
    """A merge patch of the spec, where the spec is what the controller asks for."""
    announcements: tuple[Announcement, ...] = ()
    """Events, beside those of conditions that come to hold."""
    regarding: tuple[ObjectKey, str] | None = None
    """What Events are about, and its UID; None: the object itself."""
    needs: tuple[Resource, ...] = ()
    """Objects that are to be made, for they are missing."""
    about: str = ""
    """What messages of Events begin with."""
    again: timedelta | None = None
    """When it will be another, though nothing has happened."""


def ready(reason: str = "InOvn", message: str = "") -> ConditionState:
    """The condition of an object that nothing stands in the way of."""
    return ConditionState(READY, holds=True, reason=reason, message=message, always=True)


def not_ready(reason: str, message: str) -> ConditionState:
    """The condition of an object that is not served, and why."""
    return ConditionState(READY, holds=False, reason=reason, message=message, always=True)


def with_conditions(
    conditions: Sequence[Condition], states: Sequence[ConditionState], generation: int
) -> tuple[Condition, ...]:
    """The conditions with these states; one that does not hold, and never has, is left out."""
    found = tuple(conditions)
    for state in states:
        if state.holds or state.always or any(one.type == state.type for one in found):
            found = set_condition(
                found,
                state.type,
                status=state.holds,
                reason=state.reason,
                message=state.message,
                generation=generation,
            )
    return found


def status_after(resource: Resource, report: Report) -> Spec:
    """The status of an object once a report is written. The object has a status with conditions."""
    before: Any = resource.status  # type: ignore[attr-defined]  # of every kind that is reported on
    generation = resource.metadata.generation
    fields = {"conditions": with_conditions(before.conditions, report.conditions, generation), **report.status}
    if not report.shared:
        fields["observed_generation"] = generation
    after: Spec = before.model_copy(update=fields)
    return after


def announcements(resource: Resource, report: Report) -> tuple[Announcement, ...]:
    """The Events that writing a report gives rise to: a condition that is announced is so when it comes to hold."""
    before: Any = resource.status  # type: ignore[attr-defined]  # as above
    held = {one.type for one in before.conditions if one.status == "True"}
    states = (one for one in report.conditions if one.announced and one.holds and one.type not in held)
    return (*(Announcement(one.type, one.message, warning=True) for one in states), *report.announcements)

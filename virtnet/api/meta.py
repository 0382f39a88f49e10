"""What all kinds share: metadata, conditions, and how a kind presents itself to the API server."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from sys import intern
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from virtnet.api.fields import Fields
from virtnet.api.grammar import OptionalNamespaceName, OptionalObjectName, Prose

GROUP = "virtnet.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


_UNKNOWN: set[str] = set()


class Spec(BaseModel):
    """Base of all that is written in manifests: camelCase outside, snake_case inside, immutable.

    Unknown fields are ignored, as the API server prunes them: a newer manifest must not stop an older controller.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def model_post_init(self, _: Any, /) -> None:
        """Forget which fields were given and which are defaults: nobody asks, and it is half of an object's memory."""
        object.__setattr__(self, "__pydantic_fields_set__", _UNKNOWN)


class Metadata(Spec):
    """The part of ObjectMeta that virtnet reads."""

    name: OptionalObjectName = ""
    namespace: OptionalNamespaceName = ""
    uid: Prose = ""
    resource_version: Prose = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[Prose, Prose] = Field(default_factory=dict)
    annotations: dict[Prose, Prose] = Field(default_factory=dict)
    finalizers: tuple[Prose, ...] = ()


def object_key(body: Mapping[str, Any]) -> str:
    """``namespace/name`` of an object's body, or ``name`` in cluster scope: one string for all who keep it."""
    metadata = body["metadata"]
    namespace = metadata.get("namespace")
    return intern(f"{namespace}/{metadata['name']}") if namespace else str(metadata["name"])


def uid_of(body: Mapping[str, Any]) -> str:
    """The UID of an object's body; empty for one that is being made."""
    return body["metadata"].get("uid") or ""


def check_metadata(body: Mapping[str, Any]) -> None:
    """Raises WrongType where what is read of an object's metadata is of another type than that of ObjectMeta."""
    metadata = Fields(body).object("metadata")
    for name in ("name", "generateName", "namespace", "uid", "resourceVersion", "deletionTimestamp"):
        metadata.text(name)
    metadata.texts("labels")
    metadata.texts("annotations")
    for owner in metadata.objects("ownerReferences"):
        owner.flag("controller")
        for name in ("apiVersion", "kind", "name"):
            owner.text(name)


def annotations_of(body: Mapping[str, Any]) -> Mapping[str, str]:
    """The annotations of an object's body; none where it has none."""
    return body["metadata"].get("annotations") or {}


def labels_of(body: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels of an object's body; none where it has none."""
    return body["metadata"].get("labels") or {}


def is_deleting(body: Mapping[str, Any]) -> bool:
    """Whether somebody has deleted the object of a body, and it waits for those who use it."""
    return bool(body["metadata"].get("deletionTimestamp"))


def controller_of(body: Mapping[str, Any], group: str, kind: str) -> str:
    """The name of an object's controller, where that is of a kind of an API group; empty where it is not."""
    for owner in body["metadata"].get("ownerReferences") or ():
        is_of_kind = owner.get("kind") == kind and str(owner.get("apiVersion")).startswith(f"{group}/")
        if owner.get("controller") and is_of_kind:
            return owner.get("name") or ""
    return ""


class Condition(Spec):
    """A condition as metav1.Condition has it."""

    type: str = Field(description="What the condition is about, for example Ready.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(description="One CamelCase word for programs.")
    message: str = Field(default="", description="A sentence for people: what, where, and what to do.")
    last_transition_time: datetime = Field(description="When the status last changed.")
    observed_generation: int = Field(default=0, description="The metadata.generation that this was computed from.")


def set_condition(
    conditions: Sequence[Condition],
    type: str,  # noqa: A002 - the field's name in metav1.Condition
    *,
    status: bool,
    reason: str,
    message: str = "",
    generation: int = 0,
    now: datetime | None = None,
) -> tuple[Condition, ...]:
    """The conditions with one of them set; its transition time moves only when its status does."""
    value: Literal["True", "False"] = "True" if status else "False"
    old = next((c for c in conditions if c.type == type), None)
    moved = (
        old.last_transition_time if old and old.status == value else (now or datetime.now(UTC)).replace(microsecond=0)
    )
    new = Condition(
        type=type,
        status=value,
        reason=reason,
        message=message,
        last_transition_time=moved,
        observed_generation=generation,
    )
    if old is None:
        return (*conditions, new)
    return tuple(new if c is old else c for c in conditions)  # in its place: two writers of one list come to rest


@dataclass(frozen=True)
class PrinterColumn:
    """One printer column of ``kubectl get``."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False


DELETING = "Deleting"
"""Condition of an object that somebody has deleted, and that others still use: who does."""

DELETING_COLUMN = PrinterColumn("Deleting", f'.status.conditions[?(@.type=="{DELETING}")].message')


@dataclass(frozen=True)
class Crd:
    """How a kind presents itself: its names, scope, columns and rules over the whole object."""

    plural: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    columns: tuple[PrinterColumn, ...] = ()
    rules: tuple[tuple[str, str], ...] = ()
    """CEL rules over the whole object, as (rule, message)."""


class Resource(Spec):
    """An API object of virtnet. Subclasses add ``spec``, ``status`` and ``crd``."""

    crd: ClassVar[Crd]

    metadata: Metadata = Field(default_factory=Metadata)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def key(self) -> str:
        """``namespace/name``, or the bare name in cluster scope."""
        return intern(f"{self.namespace}/{self.name}") if self.namespace else self.name

    @property
    def deleting(self) -> bool:
        """Whether somebody has deleted it, and it waits for those who use it."""
        return self.metadata.deletion_timestamp is not None

    @classmethod
    def parse(cls, body: Any) -> Self:
        """The object of a body as the API server sends it.

        Raises pydantic.ValidationError for a body that the CRD's schema would not let in.
        """
        return cls.model_validate(body)

    def manifest(self) -> dict[str, Any]:
        """The body to send to the API server: only what differs from the defaults, in camelCase."""
        body = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return {"apiVersion": API_VERSION, "kind": type(self).__name__, **body}

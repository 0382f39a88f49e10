"""What all kinds share: metadata, conditions, and how a kind presents itself to the API server."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

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

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


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
    return (*(c for c in conditions if c.type != type), new)


@dataclass(frozen=True)
class Column:
    """One printer column of ``kubectl get``."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True)
class Crd:
    """How a kind presents itself: its names, scope, columns and rules over the whole object."""

    plural: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    columns: tuple[Column, ...] = ()
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
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

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

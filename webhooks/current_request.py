"""The request that is being decided. kopf dispatches it, and sees no more of its object than the name.

kopf copies an object for its patch, and compares old and new part by part for handlers that are not here: of a large
object that takes longer than all the rest.
"""

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Self

from webhooks.patch import Patch

Body = dict[str, Any]


@dataclass(frozen=True)
class AdmissionRequest:
    """One request."""

    body: Body
    """The object as it is to be; of a deletion, as it is."""
    stored: Body | None
    """As it is stored; None where it is created."""
    patch: Patch
    until: float | None
    """When an answer has to be there, by the event loop's clock."""

    @classmethod
    def of(cls, request: Mapping[str, Any], until: float | None = None) -> Self:
        """The request of an AdmissionReview."""
        new, old = request.get("object"), request.get("oldObject")
        body = dict(new or old or {})
        return cls(body, old if new else None, Patch(body), until)


_CURRENT: ContextVar[AdmissionRequest] = ContextVar("current_request")


def set_current(request: Mapping[str, Any], until: float) -> AdmissionRequest:
    """Make a request the one that is being decided in this task, for as long as that takes."""
    found = AdmissionRequest.of(request, until)
    _CURRENT.set(found)
    return found


def current_request() -> AdmissionRequest:
    """The request that is being decided in this task."""
    return _CURRENT.get()


def deadline() -> asyncio.Timeout:
    """Ends what takes longer than the caller waits."""
    found = _CURRENT.get(None)
    return asyncio.timeout_at(found.until if found else None)


def name_only(request: Mapping[str, Any]) -> dict[str, Any]:
    """The request as kopf is to see it."""
    return {**request, **{key: _name(request[key]) for key in ("object", "oldObject") if request.get(key)}}


def _name(body: Body) -> Body:
    metadata = {key: body["metadata"][key] for key in ("name", "namespace", "uid") if key in body["metadata"]}
    return {**{key: body[key] for key in ("apiVersion", "kind") if key in body}, "metadata": metadata}

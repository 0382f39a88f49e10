"""What a call to the API server can fail with, told apart by what the caller does about it."""

# ruff: noqa: N818 - named for what happened, as the `except` line of a caller reads

from typing import Any, Self


class ApiError(Exception):
    """A request that was not carried out as asked. Its text is the server's own message."""

    def __init__(self, message: str, *, code: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        """The HTTP status; 0 when there was no answer."""
        self.reason = reason
        """The machine-readable reason of the server's Status object."""

    @classmethod
    def of(cls, status: dict[str, Any], code: int) -> Self:
        """The error for a Status object of the API server."""
        return cls(
            status.get("message") or f"the API server answered {code}", code=code, reason=status.get("reason") or ""
        )


class NotFound(ApiError):
    """There is no such object, or no such kind."""


class AlreadyExists(ApiError):
    """Another object has this name."""


class Conflict(ApiError):
    """The object is not what the caller took it for (resourceVersion or uid): read it again and decide anew."""


class Rejected(ApiError):
    """The server refuses this request, and will again: invalid, forbidden, or denied by an admission webhook."""


class Unavailable(ApiError):
    """No usable answer: try again later. A write may have been carried out all the same."""


class Expired(Unavailable):
    """The resourceVersion or continue token is too old (410): list again."""


def error(status: dict[str, Any], code: int) -> ApiError:
    """The error for an answer of the API server that is not a success.

    The reason decides on 409, not the code: a webhook that denies with 409 has rejected, nothing collided.
    """
    reason = status.get("reason") or ""
    kind: type[ApiError]
    if code == 404:
        kind = NotFound
    elif reason == "AlreadyExists":
        kind = AlreadyExists
    elif reason == "Conflict":
        kind = Conflict
    elif code == 410:
        kind = Expired
    elif code == 429 or code >= 500:
        kind = Unavailable
    else:
        kind = Rejected
    return kind.of(status, code)

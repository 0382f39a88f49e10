"""The endless list-and-watch: one collection as it is, then what changes in it, whatever happens to the API server."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from virtnet.api.meta import object_key
from virtnet.kube.backoff import Backoff
from virtnet.kube.cache import version_of
from virtnet.kube.errors import ApiError, NotFound, Rejected, Unavailable, error
from virtnet.kube.kinds import Kind

log = structlog.get_logger()

WATCH_SECONDS = 290.0
"""After this time the server is asked to end a watch, so that one that it has forgotten cannot last."""

SILENT_SECONDS = 90.0
"""A peer that sends nothing for so long is dead: the API server sends a bookmark every minute."""


@dataclass(frozen=True)
class ListRequest:
    """What is listed and watched: a collection, in one namespace or all, and which of its objects."""

    kind: Kind
    namespace: str = ""
    labels: str = ""
    fields: str = ""

    @property
    def query(self) -> dict[str, str]:
        selectors = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {name: value for name, value in selectors.items() if value}


class ListWatcher(Protocol):
    """The two requests that a watch is made of."""

    def pages(self, what: ListRequest) -> AsyncGenerator[tuple[list[dict[str, Any]], str]]: ...

    def lines(
        self, path: str, *, query: Mapping[str, str], seconds: float, silence: float
    ) -> AsyncGenerator[dict[str, Any]]: ...


async def follow(
    source: ListWatcher, what: ListRequest, interrupted: Callable[[ApiError], None] | None = None
) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
    """``("LISTED", {"items": [...]})`` for each page, ``("SYNC", {"keys": [...]})``, then each change.

    The same again after every interruption. SYNC ends a list, and says what is there: all else has gone.
    ``interrupted`` is told why the API server did not answer, each time, and everything is outlasted. Without it the
    first list may fail (NotFound, Rejected: a missing CRD or role is for the operator to see); once it has worked, the
    same answers are passing states of a restarting server.
    """
    backoff, synced = Backoff(), False
    while True:
        try:
            async with aclosing(_once(source, what)) as items:
                async for change, body in items:
                    synced = synced or change == "SYNC"
                    if change not in ("LISTED", "SYNC"):
                        backoff.succeeded()
                    yield change, body
        except ApiError as problem:
            if interrupted is not None:
                interrupted(problem)
            elif not synced and isinstance(problem, NotFound | Rejected):
                raise
            pause = backoff.after_failure()
            if not isinstance(problem, NotFound | Rejected):
                log.warning("watch interrupted", kind=str(what.kind), problem=str(problem), again_in=round(pause, 1))
            await asyncio.sleep(pause)


async def _once(source: ListWatcher, what: ListRequest) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
    """One list and its changes, until a request fails."""
    version, keys = "", list[str]()
    async with aclosing(source.pages(what)) as pages:
        async for items, moment in pages:
            keys = [*(keys if moment == version else ()), *map(object_key, items)]
            version = moment
            yield "LISTED", {"items": items, "metadata": {"resourceVersion": version}}
    yield "SYNC", {"keys": keys, "metadata": {"resourceVersion": version}}
    async with aclosing(_changes(source, what, version)) as changes:
        async for change in changes:
            yield change


async def _changes(source: ListWatcher, what: ListRequest, version: str) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
    """The changes after a resourceVersion, through as many watches as the server ends in good order."""
    while True:
        began = time.monotonic()
        query = {**what.query, "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
        seconds = WATCH_SECONDS * random.uniform(0.8, 1)  # noqa: S311 - spreads load, guards no secret
        query["timeoutSeconds"] = str(max(1, round(seconds)))
        before = version
        path = what.kind.path(what.namespace)
        # The margin leaves a slow server time to end it by itself.
        events = source.lines(path, query=query, seconds=seconds + SILENT_SECONDS, silence=SILENT_SECONDS)
        async with aclosing(events):
            async for event in events:
                change, found = event["type"], event["object"]
                if change == "ERROR":
                    raise error(found, found.get("code", 500))
                if version_of(found) < int(version):
                    raise Unavailable(f"resourceVersion {version_of(found)} after {version}: etcd has been restored")
                version = found["metadata"]["resourceVersion"]
                if change != "BOOKMARK":
                    yield change, found
        if version == before and time.monotonic() - began < 1:
            raise Unavailable("the server ended the watch at once")

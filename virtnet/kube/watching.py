"""The endless list-and-watch: one collection as it is, then what changes in it, whatever happens to the API server."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from virtnet.kube.backoff import Backoff
from virtnet.kube.errors import ApiError, NotFound, Rejected, Unavailable, error
from virtnet.kube.kinds import Kind
from virtnet.kube.table import object_key

log = structlog.get_logger()

WATCH_SECONDS = 290.0
"""After this time the server is asked to end a watch, so that one that it has forgotten cannot last."""

SILENT_SECONDS = 90.0
"""A peer that sends nothing for so long is dead: the API server sends a bookmark every minute."""


@dataclass(frozen=True)
class Selection:
    """What is watched: a collection, in one namespace or all, and which of its objects."""

    kind: Kind
    namespace: str = ""
    labels: str = ""
    fields: str = ""

    @property
    def query(self) -> dict[str, str]:
        selectors = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {name: value for name, value in selectors.items() if value}


class Source(Protocol):
    """The two requests that a watch is made of."""

    def pages(self, what: Selection) -> AsyncGenerator[tuple[list[dict[str, Any]], str]]: ...

    def lines(
        self, path: str, *, query: Mapping[str, str], seconds: float, silence: float
    ) -> AsyncGenerator[dict[str, Any]]: ...


async def follow(source: Source, what: Selection) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
    """``("LISTED", {"items": [...]})`` for each page, ``("SYNC", {"keys": [...]})``, then each change.

    The same again after every interruption. SYNC ends a list, and says what is there: all else has gone.
    Only the first list may fail (NotFound, Rejected: a missing CRD or role is for the operator to see). Once it has
    worked, the same answers are passing states of a restarting server, and are outlasted.
    """
    backoff, synced = Backoff(), False
    while True:
        try:
            version, keys = "", list[str]()
            async with aclosing(source.pages(what)) as pages:
                async for items, moment in pages:
                    keys = [*(keys if moment == version else ()), *map(object_key, items)]
                    version = moment
                    yield "LISTED", {"items": items}
            synced = True
            yield "SYNC", {"keys": keys, "metadata": {"resourceVersion": version}}
            async with aclosing(_changes(source, what, version)) as changes:
                async for change in changes:
                    backoff.succeeded()
                    yield change
        except ApiError as problem:
            if not synced and isinstance(problem, NotFound | Rejected):
                raise
            pause = backoff.after_failure()
            log.warning("watch interrupted", kind=str(what.kind), problem=str(problem), again_in=round(pause, 1))
            await asyncio.sleep(pause)


async def _changes(source: Source, what: Selection, version: str) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
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
                version = found["metadata"]["resourceVersion"]
                if change != "BOOKMARK":
                    yield change, found
        if version == before and time.monotonic() - began < 1:
            raise Unavailable("the server ended the watch at once")

"""An ObjectCache kept filled for ever, whatever becomes of the API server, of our roles and of the kind itself."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from enum import StrEnum
from typing import Any, Generic, TypeVar

import structlog

from virtnet.api.meta import is_deleting, uid_of
from virtnet.kube.backoff import Backoff
from virtnet.kube.cache import ObjectCache
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError, NotFound, Rejected
from virtnet.kube.kinds import CRDS, Kind

log = structlog.get_logger()

T = TypeVar("T")


class KindState(StrEnum):
    """What the API server makes of a watch."""

    PENDING = "Pending"
    """It has not answered yet."""
    SERVED = "Served"
    NOT_SERVED = "NotServed"
    """There is no such kind: its definition (CRD) is missing."""
    FORBIDDEN = "Forbidden"
    """We lack the role."""
    TERMINATING = "Terminating"
    """Its definition is being deleted, and with it all objects: nobody has deleted any of them."""


class Informer(Generic[T]):
    """One watch. Objects that go because the definition of their kind goes are kept: see ``_confirm``.

    ``changed`` is told of every change as (old, new), ``listed`` of the end of every list, ``observed`` of every change
    of ``state``. A ``required`` kind is synced only once it has been listed; any other also when it is not served, as
    KubeVirt may be installed after virtnet.
    """

    def __init__(
        self,
        cluster: Cluster,
        kind: Kind,
        cache: ObjectCache[T],
        changed: Callable[[T | None, T | None], None] = lambda _old, _new: None,
        *,
        labels: str = "",
        fields: str = "",
        required: bool = False,
        listed: Callable[[], None] = lambda: None,
        observed: Callable[[], None] = lambda: None,
    ) -> None:
        self.kind = kind
        self.cache = cache
        self.state = KindState.PENDING
        self.message = ""
        """What the API server says where it does not serve the kind to us."""
        self.synced = asyncio.Event()
        """Set once the cache holds all there is, and for good."""
        self._cluster = cluster
        self._changed = changed
        self._listed = listed
        self._observed = observed
        self._selectors = {"labels": labels, "fields": fields}
        self._required = required
        self._definition: str | None = None
        """None before the first list."""
        self._deletions: list[Mapping[str, Any]] = []
        self._deleted = asyncio.Event()

    @property
    def definition(self) -> str:
        """The UID of the kind's definition, when it was listed; empty for a kind that is built in, and before."""
        return self._definition or ""

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._confirm_deletions(), name=f"deletions of {self.kind}")
            watch = self._cluster.watch(self.kind, **self._selectors, interrupted=self._note_interruption)
            async with aclosing(watch) as changes:
                async for change, body in changes:
                    await self._note(change, body)

    async def _note(self, change: str, body: dict[str, Any]) -> None:
        if change == "SYNC":
            await self._sync(body)
        elif change == "DELETED" and self._definition != "":
            self._deletions.append(body)
            self._deleted.set()
        else:
            self._tell(self.cache.note(change, body))

    async def _sync(self, body: dict[str, Any]) -> None:
        """Note the end of a list, unless what it lacks has gone with the kind's definition."""
        definition = await self._read_definition()
        if definition is None:
            self._terminating()
            return
        replaced = self._definition not in (None, definition)
        self._definition = definition
        before = set(self.cache.objects) if replaced else set()
        changes = self.cache.note("SYNC", body)
        lost = before - self.cache.objects.keys()
        if lost:
            log.warning("objects lost with the definition of their kind", kind=str(self.kind), lost=len(lost))
            self.cache.lost |= lost
        self._enter(KindState.SERVED)
        self._tell(changes)
        self.synced.set()
        self._listed()

    async def _confirm_deletions(self) -> None:
        """Believe deletions only of a kind whose definition stays.

        Who deletes a definition deletes all its objects, by the API server's own hand. Asked after the deletions, it
        knows whether that was why; all that have come meanwhile are asked for at once.
        """
        while True:
            await self._deleted.wait()
            self._deleted.clear()
            deletions, self._deletions = self._deletions, []
            definition = await self._read_definition()
            if definition is None or definition != self._definition:
                self._terminating()
                continue
            for body in deletions:
                self._tell(self.cache.note("DELETED", body))

    async def _read_definition(self) -> str | None:
        """The UID of the kind's definition, empty for a kind that is built in, None for one that is going or gone."""
        if not self.kind.group or self._definition == "":
            return ""
        backoff = Backoff()
        while True:
            try:
                found = await self._cluster.get(CRDS, str(self.kind), metadata_only=True)
            except NotFound:
                return "" if self._definition is None else None
            except ApiError as error:
                pause = backoff.after_failure()
                log.warning("definition cannot be read", kind=str(self.kind), problem=str(error), again_in=pause)
                await asyncio.sleep(pause)
            else:
                return None if is_deleting(found) else uid_of(found)

    def _note_interruption(self, problem: ApiError) -> None:
        if isinstance(problem, NotFound):
            self._enter(KindState.NOT_SERVED, f"the API server does not serve {self.kind}; is its definition applied?")
            self._definition = self._definition or None
            if not self._required:
                self.cache.synced = True
                self.synced.set()
        elif isinstance(problem, Rejected):  # an API server that starts refuses all before it has loaded the roles
            self._enter(KindState.FORBIDDEN, str(problem))

    def _terminating(self) -> None:
        self._enter(KindState.TERMINATING, f"the definition of {self.kind} is being deleted; its objects are kept here")

    def _enter(self, state: KindState, message: str = "") -> None:
        """Change the state, and say so once."""
        if (state, message) == (self.state, self.message):
            return
        tell = log.info if state is KindState.SERVED else log.warning
        tell("watch", kind=str(self.kind), state=str(state), message=message)
        self.state, self.message = state, message
        self._observed()

    def _tell(self, changes: Iterable[tuple[T | None, T | None]]) -> None:
        for old, new in changes:
            self._changed(old, new)

"""What the API server has, as far as the stand-in cares: kept by watches, and ahead of them by its own writes."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from copy import deepcopy
from typing import Any

from virtnet.api.meta import object_key
from virtnet.kube.errors import Conflict, NotFound, Unavailable
from virtnet.kube.kinds import NADS, NODES, PODS, VMIMS, VMIS, VMS, Kind
from virtnet.lab.standin.server import StandinCluster

Object = dict[str, Any]
StoreKey = tuple[str, str]
"""Namespace (none of nodes) and name."""

StoreListener = Callable[[StoreKey, Object], None]

WATCHED = (NADS, NODES, PODS, VMS, VMIS, VMIMS)
REMEMBERED = 5000


def key_of(thing: Object) -> StoreKey:
    return thing["metadata"].get("namespace", ""), thing["metadata"]["name"]


def uid_of(thing: Object) -> str:
    uid: str = thing["metadata"]["uid"]
    return uid


def going(thing: Object) -> bool:
    """Whether somebody has deleted it, and it waits for finalizers or for its kubelet."""
    return "deletionTimestamp" in thing["metadata"]


def owned_by(thing: Object, owner: Object) -> bool:
    return any(ref["uid"] == uid_of(owner) for ref in thing["metadata"].get("ownerReferences", ()))


class Store:
    """Belongs to one event loop. A listener is told of every change, whoever made it."""

    def __init__(self, server: StandinCluster) -> None:
        self.server = server
        self._objects: dict[Kind, dict[StoreKey, Object]] = {kind: {} for kind in WATCHED}
        self._listeners: dict[Kind, list[StoreListener]] = {kind: [] for kind in WATCHED}
        self._gone: dict[str, None] = {}
        self._unsure: set[Kind] = set()
        """Kinds of which an object may have been made, and nobody has said so."""

    def get(self, kind: Kind, key: StoreKey) -> Object | None:
        return self._objects[kind].get(key)

    def all(self, kind: Kind) -> list[Object]:
        return list(self._objects[kind].values())

    def on_change(self, kind: Kind, listener: StoreListener) -> None:
        self._listeners[kind].append(listener)

    async def create(self, kind: Kind, body: Object) -> Object:
        """Raises AlreadyExists, Rejected (by a webhook, for example), Unavailable.

        After the last the object may be there all the same, under a name that only the server knows. So the next
        attempt first looks at all that is there, and raises Unavailable once more: whether to create is decided anew.
        """
        namespace = body["metadata"]["namespace"]
        if kind in self._unsure:
            items, _ = await self.server.list(kind, namespace)
            for item in items:
                self._keep(kind, item)
            self._unsure.discard(kind)
            raise Unavailable(f"an earlier write of {kind} had no answer: what it may have made is known now")
        try:
            made = await self.server.create(kind, body, namespace)
        except Unavailable:
            self._unsure.add(kind)
            raise
        self._keep(kind, made)
        return made

    async def update(
        self, kind: Kind, key: StoreKey, change: Callable[[Object], None], *, subresource: str = "", uid: str = ""
    ) -> Object | None:
        """Apply a change, again if somebody else was faster. Nothing is written when nothing changes.

        None when the object is gone, or another one (``uid``) has its name.
        """
        latest = self.get(kind, key)
        while latest is not None and uid in {"", uid_of(latest)}:
            body = deepcopy(latest)
            change(body)
            if body == latest:
                return latest
            try:
                written = await self.server.replace(kind, key[1], body, key[0], subresource=subresource)
            except Conflict:
                latest = await self.refresh(kind, key)
                continue
            except NotFound:
                return None
            self._keep(kind, written)
            return written
        return None

    async def delete(self, kind: Kind, thing: Object) -> None:
        """Ask for an object's end; nothing if it has come already."""
        try:
            await self.server.delete(kind, thing["metadata"]["name"], thing["metadata"]["namespace"], uid=uid_of(thing))
        except (NotFound, Conflict):
            return

    async def run(self, ready: asyncio.Event) -> None:
        """Follow the API server for ever; ``ready`` once everything is known that is there."""
        waiting = set(WATCHED)

        def synced(kind: Kind) -> None:
            waiting.discard(kind)
            if not waiting:
                ready.set()

        async with asyncio.TaskGroup() as group:
            for kind in WATCHED:
                group.create_task(self._follow(kind, synced))

    async def _follow(self, kind: Kind, synced: Callable[[Kind], None]) -> None:
        async with aclosing(self.server.watch(kind)) as changes:
            async for change, found in changes:
                self.note(kind, change, found)
                if change == "SYNC":
                    synced(kind)

    def note(self, kind: Kind, change: str, found: Object) -> None:
        """Note one item of ``Server.watch``."""
        match change:
            case "LISTED":
                for item in found["items"]:
                    self._keep(kind, item)
            case "SYNC":
                self._sync(kind, set(found["keys"]), _version(found))
            case "DELETED":
                self._drop(kind, found)
            case _:
                self._keep(kind, found)

    async def refresh(self, kind: Kind, key: StoreKey) -> Object | None:
        """Ask the server now. None when it is gone."""
        try:
            found = await self.server.get(kind, key[1], key[0])
        except NotFound:
            return None
        self._keep(kind, found)
        return found

    def _sync(self, kind: Kind, there: set[str], moment: int) -> None:
        """What was not there at the list's moment has gone, but for what is newer: we have written that ourselves."""
        for old in list(self._objects[kind].values()):
            if object_key(old) not in there and _version(old) <= moment:
                self._drop(kind, old)

    def _keep(self, kind: Kind, new: Object) -> None:
        """The newest version wins: an answer to a write may be ahead of the watch, and behind it."""
        key, old = key_of(new), self._objects[kind].get(key_of(new))
        if uid_of(new) in self._gone or (old is not None and _version(old) >= _version(new)):
            return
        if _finished(new):  # the answer to the write that ended it
            self._drop(kind, new)
            return
        self._objects[kind][key] = new
        self._tell(kind, key, new)

    def _drop(self, kind: Kind, old: Object) -> None:
        self._gone[uid_of(old)] = None
        if len(self._gone) > REMEMBERED:
            del self._gone[next(iter(self._gone))]
        kept = self._objects[kind].get(key_of(old))
        if kept is not None and uid_of(kept) == uid_of(old):
            del self._objects[kind][key_of(old)]
        self._tell(kind, key_of(old), old)

    def _tell(self, kind: Kind, key: StoreKey, thing: Object) -> None:
        for listener in self._listeners[kind]:
            listener(key, thing)


def _version(thing: Object) -> int:
    return int(thing["metadata"]["resourceVersion"])


def _finished(thing: Object) -> bool:
    """Whether this is the last version of a deleted object; those of pods end by their kubelet's word."""
    metadata = thing["metadata"]
    return going(thing) and not metadata.get("finalizers") and thing.get("kind") != "Pod"

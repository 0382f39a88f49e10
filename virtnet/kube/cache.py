"""Objects of one kind in memory: filled by a watch, and at once by what the process itself has written."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import structlog

from virtnet.api.meta import object_key

log = structlog.get_logger()

T = TypeVar("T")

NEVER = -1
"""Before every resourceVersion."""


def version_of(body: Mapping[str, Any]) -> int:
    """The resourceVersion of an object or of a list: larger is newer, for as long as nobody restores etcd."""
    return int(body["metadata"].get("resourceVersion") or 0)


@dataclass
class ObjectCache(Generic[T]):
    """Objects of one kind by key."""

    parse: Callable[[Mapping[str, Any]], T]
    objects: dict[str, T] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    uids: dict[str, str] = field(default_factory=dict)
    deleted: dict[str, str] = field(default_factory=dict)
    """Key -> uid of what we have deleted ourselves: the watch may still bring older news of it."""
    lost: set[str] = field(default_factory=set)
    """Keys of objects that nobody has deleted: they went with the definition of their kind, and may come back."""
    moment: int = NEVER
    """The newest resourceVersion that the watch has told."""
    synced: bool = False

    def __getitem__(self, key: str) -> T:
        return self.objects[key]

    def get(self, key: str) -> T | None:
        return self.objects.get(key)

    def __iter__(self) -> Iterator[T]:
        return iter(self.objects.values())

    def __len__(self) -> int:
        return len(self.objects)

    def put(self, body: Mapping[str, Any], moment: int = NEVER) -> tuple[T | None, T | None]:
        """Note an object; returns what was known and what is now. Older news than the known changes nothing.

        ``moment`` is that of the list which has the object: the list is right about all that is not newer than itself,
        also where it says that an object is older than was known, for then etcd has been restored. Without it, the body
        is an answer to a request of our own. One about an object that is not known, though the watch has told all up to
        that version, comes after the news of its deletion.

        An object that cannot be read, say one of a newer version of its kind, changes nothing either: what was known
        of it stays, and the others go on.
        """
        key, uid, version = object_key(body), body["metadata"]["uid"], version_of(body)
        old = self.objects.get(key)
        if self.deleted.get(key) == uid or (old is not None and version < self.versions[key] > moment):
            return old, old
        if old is None and moment == NEVER and version <= self.moment:
            return None, None
        new = self._read(body)
        if new is None:
            return old, old
        if new == old:
            new = old  # whoever was told of it has it, and a second one weighs as much
        self.objects[key], self.versions[key], self.uids[key] = new, version, uid
        self.lost.discard(key)
        return old, new

    def remove(self, key: str) -> T | None:
        """Forget an object that the API server says is gone."""
        self.deleted.pop(key, None)
        return self._forget(key)

    def discard_deleted(self, key: str, uid: str) -> None:
        """Forget an object that we have deleted ourselves; nothing, where the watch was quicker."""
        if self.uids.get(key) == uid:
            self.deleted[key] = uid
            self._forget(key)

    def sync(self, keys: Iterable[str], moment: int) -> list[tuple[T | None, T | None]]:
        """Note the end of a list, and what was there at that moment: the rest has gone, but for what is newer."""
        there = set(keys)
        gone = [key for key, noted in self.versions.items() if key not in there and noted <= moment]
        changes: list[tuple[T | None, T | None]] = [(self.remove(key), None) for key in gone]
        self.deleted = {key: uid for key, uid in self.deleted.items() if key in there}
        self.moment = moment
        self.synced = True
        return changes

    def note(self, change: str, body: Mapping[str, Any]) -> list[tuple[T | None, T | None]]:
        """Note one item of ``Cluster.watch``; returns what changed, as pairs of old and new."""
        moment = version_of(body)
        if change == "LISTED":
            if moment < self.moment:
                self._rewind()
            return [(old, new) for old, new in (self.put(item, moment) for item in body["items"]) if old != new]
        if change == "SYNC":
            return self.sync(body["keys"], moment)
        self.moment = max(self.moment, moment)
        if change == "DELETED":
            key, uid = object_key(body), body["metadata"]["uid"]
            if self.uids.get(key, uid) != uid:  # old news: another of this name is there by now
                self.deleted.pop(key, None)
                return []
            return [(self.remove(key) or self._read(body), None)]  # what we have deleted is news to others
        if self.versions.get(object_key(body)) == moment:  # our own write, which was noted at once
            return []
        old, new = self.put(body, moment)
        return [(old, new)] if old != new else []

    def _rewind(self) -> None:
        """The list is of an earlier moment than is known: etcd was restored, and what came after never happened."""
        self.moment = NEVER
        self.versions = dict.fromkeys(self.versions, NEVER)
        self.deleted.clear()

    def _read(self, body: Mapping[str, Any]) -> T | None:
        try:
            return self.parse(body)
        except (ValueError, KeyError, TypeError) as error:
            key, uid = object_key(body), body["metadata"]["uid"]
            log.warning("object cannot be read", key=key, uid=uid, error=str(error))
            return None

    def _forget(self, key: str) -> T | None:
        self.versions.pop(key, None)
        self.uids.pop(key, None)
        return self.objects.pop(key, None)

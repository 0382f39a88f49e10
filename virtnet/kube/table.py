"""Objects of one kind in memory: filled by a watch, and at once by what the process itself has written."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import structlog

log = structlog.get_logger()

T = TypeVar("T")


def object_key(body: Mapping[str, Any]) -> str:
    """``namespace/name``, or ``name`` in cluster scope."""
    metadata = body["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


@dataclass
class Table(Generic[T]):
    """Objects of one kind by key, and by one other thing."""

    parse: Callable[[Mapping[str, Any]], T]
    groups: Callable[[T], Iterable[str]] = lambda _: ()
    """What an object is also found under."""
    decisive: Callable[[T], object] = lambda found: found
    """What of an object decides about other objects: a change to nothing else is a report that came back."""
    decided: int = 0
    """How often that has changed."""
    changes: int = 0
    """How often anything has."""
    objects: dict[str, T] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    uids: dict[str, str] = field(default_factory=dict)
    grouped: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    buried: dict[str, str] = field(default_factory=dict)
    """Key -> uid of what we have deleted ourselves: the watch may still bring older news of it."""
    synced: bool = False

    def __getitem__(self, key: str) -> T:
        return self.objects[key]

    def get(self, key: str) -> T | None:
        return self.objects.get(key)

    def __iter__(self) -> Iterator[T]:
        return iter(self.objects.values())

    def __len__(self) -> int:
        return len(self.objects)

    def of(self, group: str) -> list[T]:
        """The objects of a group, in the order of their keys."""
        return [self.objects[key] for key in sorted(self.grouped.get(group, ()))]

    def put(self, body: Mapping[str, Any]) -> tuple[T | None, T | None]:
        """Note an object; returns what was known and what is now. Older news than the known changes nothing.

        An object that cannot be read, say one of a newer version of its kind, changes nothing either: what was known
        of it stays, and the others go on.
        """
        key, uid = object_key(body), body["metadata"]["uid"]
        version = int(body["metadata"].get("resourceVersion") or 0)
        old = self.objects.get(key)
        if self.buried.get(key) == uid or (old is not None and version < self.versions[key]):
            return old, old
        new = self._read(body)
        if new is None:
            return old, old
        if old is None or self.decisive(old) != self.decisive(new):
            self.decided += 1
        self.changes += 1
        self._ungroup(key, old)
        self.objects[key], self.versions[key], self.uids[key] = new, version, uid
        for group in self.groups(new):
            self.grouped[group].add(key)
        return old, new

    def remove(self, key: str) -> T | None:
        """Forget an object that the API server says is gone."""
        self.buried.pop(key, None)
        return self._forget(key)

    def bury(self, key: str, uid: str) -> None:
        """Forget an object that we have deleted ourselves; nothing, where the watch was quicker."""
        if self.uids.get(key) == uid:
            self.buried[key] = uid
            self._forget(key)

    def sync(self, keys: Iterable[str], version: str) -> list[tuple[T | None, T | None]]:
        """Note the end of a list, and what was there at that moment: the rest has gone, but for what is newer."""
        there, moment = set(keys), int(version)
        gone = [key for key, noted in self.versions.items() if key not in there and noted <= moment]
        changes: list[tuple[T | None, T | None]] = [(self.remove(key), None) for key in gone]
        self.buried = {key: uid for key, uid in self.buried.items() if key in there}
        self.synced = True
        return changes

    def note(self, change: str, body: Mapping[str, Any]) -> list[tuple[T | None, T | None]]:
        """Note one item of ``Cluster.watch``; returns what changed, as pairs of old and new."""
        if change == "LISTED":
            return [(old, new) for old, new in map(self.put, body["items"]) if old != new]
        if change == "SYNC":
            return self.sync(body["keys"], body["metadata"]["resourceVersion"])
        if change == "DELETED":
            key, uid = object_key(body), body["metadata"]["uid"]
            if self.uids.get(key, uid) != uid:  # old news: another of this name is there by now
                self.buried.pop(key, None)
                return []
            return [(self.remove(key) or self._read(body), None)]  # what we have buried is news to others
        old, new = self.put(body)
        return [(old, new)] if old != new else []

    def _read(self, body: Mapping[str, Any]) -> T | None:
        try:
            return self.parse(body)
        except (ValueError, KeyError, TypeError) as error:
            key, uid = object_key(body), body["metadata"]["uid"]
            log.warning("object cannot be read", key=key, uid=uid, error=str(error))
            return None

    def _forget(self, key: str) -> T | None:
        old = self.objects.pop(key, None)
        self.decided += old is not None
        self.changes += old is not None
        self.versions.pop(key, None)
        self.uids.pop(key, None)
        self._ungroup(key, old)
        return old

    def _ungroup(self, key: str, old: T | None) -> None:
        for group in self.groups(old) if old is not None else ():
            self.grouped[group].discard(key)
            if not self.grouped[group]:
                del self.grouped[group]

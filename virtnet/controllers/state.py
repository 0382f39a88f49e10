"""What the API server says, in memory: caches filled by watches, and the graph of who depends on what in them.

Filled at once, too, by what the controller itself has written, so that it never acts on less than it knows.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from virtnet.api import Port, Resource
from virtnet.engine.collection import Collection, Objects
from virtnet.engine.due import Task
from virtnet.engine.feature import Feature, ForeignFeature
from virtnet.engine.graph import Graph
from virtnet.engine.keys import ObjectKey
from virtnet.features import FEATURES, FOREIGN_FEATURES
from virtnet.features.nads import NADS
from virtnet.features.ovn_state import ROWS
from virtnet.features.sources import LEASES, POD_KIND, PODS, PORTS, VM_KIND, VMS, lease_owner, port_owner
from virtnet.kube import kinds
from virtnet.kube.cache import ObjectCache
from virtnet.kube.watched import BY_CONTROLLER

COMPILE, REPORT, OWN, KEEP = "compile", "report", "own", "keep"
"""What there is to do about an object: its rows; its status; the Ports and leases that it owns; its finalizer."""

OWNERS = (VM_KIND, POD_KIND)

KINDS = {feature.kind: feature for feature in FEATURES}

_EVERY: tuple[ForeignFeature | Feature, ...] = (*FOREIGN_FEATURES, *FEATURES)
_COLLECTIONS = {feature.kind: feature.collection for feature in _EVERY}
COMPILERS = {feature.kind: feature.compile for feature in _EVERY}
"""Of every kind that rows of OVN may be of; None where these are parts of others' objects. In the order of writing."""


def _keyed(collection: Collection[Any], parse: Callable[[Mapping[str, Any]], Any]) -> Callable[[Any], Any]:
    """Parses a body to its key and value."""

    def keyed(body: Mapping[str, Any]) -> tuple[ObjectKey, Any]:
        metadata = body["metadata"]
        return ObjectKey(collection.kind, metadata.get("namespace") or "", metadata["name"]), parse(body)

    return keyed


def _spawn() -> dict[Collection[Any], Callable[[ObjectKey, Any], Iterable[Task]]]:
    """What an object gives rise to when it is seen first."""

    def of_feature(key: ObjectKey, _: object) -> list[Task]:
        feature = KINDS.get(key.kind)
        return [
            *([Task(COMPILE, key)] if COMPILERS[key.kind] else ()),
            *([Task(REPORT, key)] if feature and feature.report else ()),
        ]

    def of_owner(owner: ObjectKey) -> list[Task]:
        return [Task(OWN, owner)] if owner.kind in OWNERS else []

    def of_port(key: ObjectKey, port: Port) -> list[Task]:
        return [*of_feature(key, port), *of_owner(port_owner(port))]

    def of_rows(key: ObjectKey, _: object) -> list[Task]:
        return [Task(COMPILE, key)] if key.kind in COMPILERS else []  # those of a later version's kinds are left alone

    return {
        **{feature.collection: of_feature for feature in _EVERY},
        PORTS: of_port,
        ROWS: of_rows,
        VMS: lambda key, _: [Task(OWN, key)],
        PODS: lambda _, pod: [Task(OWN, pod.owner)],
        NADS: lambda key, _: [Task(KEEP, key)],
        LEASES: lambda _, lease: of_owner(lease_owner(lease)),
    }


class ControllerState:
    """All objects, and who depends on them."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        """``changed``: something may be due."""
        self.graph = Graph(_spawn())
        self._changed = changed
        self._caches: dict[kinds.Kind, ObjectCache[tuple[ObjectKey, Any]]] = {}
        self._collections: dict[kinds.Kind, Collection[Any]] = {}
        for source in BY_CONTROLLER:
            self._caches[source.kind] = ObjectCache(_keyed(source.collection, source.parse))
            self._collections[source.kind] = source.collection
        self._lost = {source.collection.kind: self._caches[source.kind].lost for source in BY_CONTROLLER}

    def cache(self, kind: kinds.Kind) -> ObjectCache[tuple[ObjectKey, Any]]:
        """What a watch of this kind fills; its changes go to ``note``."""
        return self._caches[kind]

    def note(self, kind: kinds.Kind, old: tuple[ObjectKey, Any] | None, new: tuple[ObjectKey, Any] | None) -> None:
        """Note one change that a watch has told."""
        found = new or old
        if found is not None:
            self.tell(self._collections[kind], found[0], new[1] if new else None)

    def put(self, kind: kinds.Kind, body: Mapping[str, Any]) -> None:
        """Note an object that the controller itself has written, as the API server answered."""
        old, new = self._caches[kind].put(body)
        found = new or old
        if found is not None:
            self.tell(self._collections[kind], found[0], new[1] if new else None)

    def discard_deleted(self, kind: kinds.Kind, key: str, uid: str) -> None:
        """Forget an object that the controller itself has deleted."""
        cache = self._caches[kind]
        cache.discard_deleted(key, uid)
        if cache.get(key) is None:
            collection = self._collections[kind]
            self.tell(collection, collection.key(key), None)

    def tell(self, collection: Collection[Any], key: ObjectKey, value: object | None, by: Task | None = None) -> None:
        """Store a value in a collection of the graph."""
        self.graph.put(collection, key, value, by)
        self._changed()

    def is_lost(self, key: ObjectKey) -> bool:
        """Whether an object went with the definition of its kind: nobody has deleted it."""
        return key.key in self.lost(key.kind)

    def lost(self, kind: str) -> set[str]:
        """The keys of all objects of a kind that OVN has rows of that are so."""
        return self._lost.get(kind, set())

    def note_lost(self, kind: str, keys: Iterable[ObjectKey]) -> None:
        """Note such objects that this process has never known."""
        self._lost[kind].update(key.key for key in keys)

    def objects(self, collection: Collection[Any]) -> Objects[Any]:
        return self.graph.objects(collection)

    def exists(self, key: ObjectKey) -> bool:
        """Whether there is such an object, of a kind that OVN has rows of."""
        return key in self.graph.objects(_COLLECTIONS[key.kind])

    def generation(self, key: ObjectKey) -> int:
        """The metadata.generation of one of virtnet's own objects; 0 where there is none, and for those of others."""
        found = self.graph.objects(_COLLECTIONS[key.kind]).get(key)
        return found.metadata.generation if isinstance(found, Resource) else 0

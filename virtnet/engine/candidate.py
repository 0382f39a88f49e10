"""What would be, if one object were written: for deciding at admission whether it may be."""

from collections.abc import Callable, Hashable, Mapping
from collections.abc import Collection as Container
from datetime import UTC, datetime
from typing import Any, TypeVar

from virtnet.engine.collection import Collection, Objects
from virtnet.engine.graph import Graph, Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.questions import Matching, matches
from virtnet.engine.selector import Selector

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class Candidate(Reader):
    """A graph with one object as it is to be. The graph itself is not changed, and keeps nothing that is derived."""

    def __init__(
        self, graph: Graph, collection: Collection[T], key: ObjectKey, value: T, held: Container[Collection[Any]]
    ) -> None:
        """``held``: the collections that the graph has. Of another, it would answer that there are no objects."""
        super().__init__(graph, datetime.now(UTC))
        self._amendments = _amendments(graph, collection, key, value)
        self._held = {*held, *(part.collection for one in held for part in one.projections)}
        self._derived: dict[tuple[Callable[..., Any], Hashable], Any] = {}

    @property
    def read_by_key(self) -> list[tuple[Collection[Any], ObjectKey]]:
        """The other objects that were asked for by their keys."""
        found: list[tuple[Collection[Any], ObjectKey]] = []
        for question in self.questions:
            match question:
                case (Collection() as collection, ObjectKey() as key) if key not in self._amended(collection):
                    found.append((collection, key))
        return found

    def get(self, collection: Collection[T], key: ObjectKey) -> T | None:
        self._require(collection)
        found = super().get(collection, key)
        return self._amended(collection).get(key, found)

    def whole(self, collection: Collection[T], key: ObjectKey) -> T | None:
        return self.get(collection, key)

    def by(self, collection: Collection[T], index: str, value: Hashable) -> list[T]:
        self._require(collection)
        declared = collection.indexes[index]
        return self._amend(
            collection, super().by(collection, index, value), lambda _, one: value in set(declared.values(one))
        )

    def every(self, collection: Collection[T]) -> Objects[T]:
        self._require(collection)
        found = super().every(collection)
        if not self._amended(collection):
            return found
        amended: Objects[T] = Objects(collection)
        for key, value in zip(found.keys(), found, strict=True):
            amended.put(key, value)
        for key, new in self._amended(collection).items():
            amended.put(key, new)
        return amended

    def matching(self, collection: Collection[T], namespace: str | None, selector: Selector) -> list[T]:
        self._require(collection)
        matching = Matching(collection, namespace, selector)
        return self._amend(
            collection,
            super().matching(collection, namespace, selector),
            lambda key, one: matches(matching, key, one),
        )

    def derive(self, function: Callable[[K, Reader], R], key: K) -> R:
        derived = (function, key)
        if derived not in self._derived:
            self._derived[derived] = function(key, self)
        found: R = self._derived[derived]
        return found

    def _amended(self, collection: Collection[T]) -> Mapping[ObjectKey, T | None]:
        return self._amendments.get(collection, {})

    def _amend(self, collection: Collection[T], found: list[T], fits: Callable[[ObjectKey, T], bool]) -> list[T]:
        amended = self._amended(collection)
        if not amended:
            return found
        before = [self._graph.objects(collection).get(key) for key in amended]
        kept = [one for one in found if not any(one is former for former in before)]
        return [*kept, *(one for key, one in amended.items() if one is not None and fits(key, one))]

    def _require(self, collection: Collection[Any]) -> None:
        if collection not in self._held:
            raise LookupError(f"{collection} is not among the check_reads of any feature, and is not watched")


def _amendments(
    graph: Graph, collection: Collection[T], key: ObjectKey, value: T
) -> dict[Collection[Any], dict[ObjectKey, Any]]:
    """The object, and the parts of it that are collections of their own; None: a part that it has no more."""
    found: dict[Collection[Any], dict[ObjectKey, Any]] = {collection: {key: value}}
    before = graph.objects(collection).get(key)
    for part in collection.projections:
        former = part.entries(key, before) if before is not None else {}
        found[part.collection] = {**dict.fromkeys(former), **part.entries(key, value)}
    return found

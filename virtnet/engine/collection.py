"""Collections: what is watched, declared; and the objects of one in memory, as frozen values under their indexes."""

from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from virtnet.engine.keys import ObjectKey

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Index:
    """A property of a collection's objects that others ask by."""

    __slots__ = ("name", "values")

    def __init__(self, name: str, values: Callable[[Any], Iterable[Hashable]]) -> None:
        self.name = name
        self.values = values


class Projection:
    """A part of each object that is a collection of its own, so that others can depend on that part alone.

    ``shared``: several objects may have the same entry, which is there while one of them has it.
    """

    __slots__ = ("collection", "entries", "shared")

    def __init__(
        self,
        collection: "Collection[Any]",
        entries: Callable[[ObjectKey, Any], Mapping[ObjectKey, Any]],
        *,
        shared: bool = False,
    ) -> None:
        self.collection = collection
        self.entries = entries
        self.shared = shared


class Collection(Generic[T_co]):
    """One kind that is watched: API objects, or what OVN says. A declaration; a ``Graph`` has the objects.

    ``relevant``: the part of an object that others may depend on; a change of nothing else concerns only who asked for
    the whole. ``labels``: what selectors select by. ``urgent``: whether who depends on it is looked at before others.
    """

    def __init__(
        self,
        kind: str,
        *,
        relevant: Callable[[Any], object] = lambda value: value,
        indexes: Mapping[str, Callable[[Any], Iterable[Hashable]]] | None = None,
        labels: Callable[[Any], Mapping[str, str]] | None = None,
        projections: Iterable[Projection] = (),
        urgent: bool = False,
    ) -> None:
        self.kind = kind
        self.relevant = relevant
        self.labels = labels
        self.projections = tuple(projections)
        self.urgent = urgent
        self.indexes = {name: Index(name, values) for name, values in (indexes or {}).items()}
        self.whole = object()
        """Stands for the collection in questions for all of an object."""

    def __repr__(self) -> str:
        return f"Collection({self.kind})"

    def index(self, name: str, values: Callable[[Any], Iterable[Hashable]]) -> None:
        """Let its objects be asked for by a further property. To be said where the module that asks is imported."""
        self.indexes[name] = Index(name, values)

    def key(self, key: str) -> ObjectKey:
        """The key of the object ``namespace/name``, or ``name`` in cluster scope."""
        return ObjectKey.named(self.kind, key)


ObjectKeys = tuple[ObjectKey, ...] | list[ObjectKey]


class Objects(Generic[T]):
    """The objects of one collection. Values are never changed in place."""

    def __init__(self, collection: Collection[T]) -> None:
        self._values: dict[ObjectKey, T] = {}
        self._keys: dict[Index, dict[Hashable, ObjectKeys]] = {index: {} for index in collection.indexes.values()}
        """Few keys are a tuple: most properties are those of one object, and a set of it weighs four times as much.

        Many are a list. Both are in order, for who asks wants them so, and asks again whenever one of them changes.
        """

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[T]:
        return iter(self._values.values())

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __getitem__(self, key: ObjectKey) -> T:
        return self._values[key]

    def keys(self) -> Iterable[ObjectKey]:
        return self._values.keys()

    def get(self, key: ObjectKey) -> T | None:
        return self._values.get(key)

    def by(self, index: Index, value: Hashable) -> list[T]:
        """The objects that have a property, in the order of their keys."""
        return [self._values[key] for key in self._keys[index].get(value, ())]

    def put(self, key: ObjectKey, value: T | None) -> T | None:
        """Store a value, or forget it (None); returns what was there."""
        old = self._values.get(key)
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value
        for index, keys in self._keys.items():
            before = set(index.values(old)) if old is not None else set()
            after = set(index.values(value)) if value is not None else set()
            for one in before - after:
                _discard(keys, one, key)
            for one in after - before:
                _add(keys, one, key)
        return old


FEW = 6
"""Keys of one property that a tuple has room for."""


def _add(keys: dict[Hashable, ObjectKeys], value: Hashable, key: ObjectKey) -> None:
    found = keys.get(value, ())
    if isinstance(found, list):
        insort(found, key)
    elif len(found) < FEW:
        keys[value] = tuple(sorted((*found, key)))
    else:
        keys[value] = sorted((*found, key))


def _discard(keys: dict[Hashable, ObjectKeys], value: Hashable, key: ObjectKey) -> None:
    found = keys[value]
    if isinstance(found, list):
        del found[bisect_left(found, key)]
    else:
        found = keys[value] = tuple(one for one in found if one != key)
    if not found:
        del keys[value]

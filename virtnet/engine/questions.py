"""What is asked of the objects: a question has two parts, by which it is looked up when an object has changed."""

from collections.abc import Hashable
from typing import Any, NamedTuple

from virtnet.engine.collection import Collection
from virtnet.engine.keys import ObjectKey
from virtnet.engine.selector import Selector

Question = tuple[Hashable, Hashable]
"""(collection or its ``whole``, key), (collection, EVERY), (index, value), (Matching, EVERY), (function, key)."""

EVERY = object()
"""In place of a key: the question for all objects."""


class Matching(NamedTuple):
    """The objects of a namespace (None: of all) that a selector selects."""

    collection: Collection[Any]
    namespace: str | None
    selector: Selector


def matches(matching: Matching, key: ObjectKey, value: Any) -> bool:
    """Whether an object, if it is there, is among them."""
    labels = matching.collection.labels
    if value is None or labels is None or matching.namespace not in (None, key.namespace):
        return False
    return matching.selector.matches(labels(value))

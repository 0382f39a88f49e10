"""Who has asked what: so that of a change those hear who would be answered differently, and nobody else.

Whatever is computed (an object's rows, its status, what several share) reads through a ``Reader``, which notes each
question. When an object comes, changes or goes, the questions about it are looked up, and who asked them is due to be
looked at again. What several need and is costly to compute is *derived*: computed once, kept, and computed again when
what it was read from has changed; who asked for it is due only where it then differs.
"""

import contextlib
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from virtnet.engine.collection import Collection, Objects
from virtnet.engine.due import Due, Priority, Task
from virtnet.engine.keys import ObjectKey
from virtnet.engine.questions import EVERY, Matching, Question, matches
from virtnet.engine.selector import Selector

T = TypeVar("T")
V = TypeVar("V")
K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


MOST_AT_ONCE = 1000
"""Askers of one question that are made due in one go: a matter of a millisecond."""

FEW = 6
"""Askers of one question that a list has room for: a dict weighs three times as much."""

Derived = tuple[Callable[..., Any], Hashable]
Asker = Task | Derived


class Reader:
    """Answers questions, and notes them."""

    def __init__(self, graph: "Graph", now: datetime | None = None, own: ObjectKey | None = None) -> None:
        """``own``: the key of the object that is looked at; what is asked about it is kept by this very key."""
        self._graph = graph
        self._now = now
        self._own = own
        self.questions: dict[Question, None] = {}

    @property
    def now(self) -> datetime:
        """The moment that is decided for; what is derived must not depend on it."""
        if self._now is None:
            raise RuntimeError("what is derived is kept, and must not depend on the time")
        return self._now

    def get(self, collection: Collection[T], key: ObjectKey) -> T | None:
        """One object, for its relevant part."""
        self.questions[collection, self._own if key == self._own else key] = None
        return self._graph.objects(collection).get(key)

    def whole(self, collection: Collection[T], key: ObjectKey) -> T | None:
        """One object, for all of it."""
        self.questions[collection.whole, self._own if key == self._own else key] = None
        return self._graph.objects(collection).get(key)

    def by(self, collection: Collection[T], index: str, value: Hashable) -> list[T]:
        """The objects that have a property, in the order of their keys."""
        declared = collection.indexes[index]
        self.questions[declared, value] = None
        return self._graph.objects(collection).by(declared, value)

    def every(self, collection: Collection[T]) -> Objects[T]:
        """All objects of a collection."""
        self.questions[collection, EVERY] = None
        return self._graph.objects(collection)

    def matching(self, collection: Collection[T], namespace: str | None, selector: Selector) -> list[T]:
        """The objects that a selector selects, in one namespace or (None) in all, in the order of their keys."""
        matching = Matching(collection, namespace, selector)
        self.questions[matching, EVERY] = None
        objects = self._graph.objects(collection)
        return [objects[key] for key in sorted(objects.keys()) if matches(matching, key, objects[key])]

    def derive(self, function: Callable[[K, "Reader"], R], key: K) -> R:
        """What a function makes of a key, computed once for all who ask."""
        self.questions[function, key] = None
        found: R = self._graph.derived(function, key)
        return found


Askers = Asker | list[Asker] | dict[Asker, None]
"""A single asker stands for itself, and few are a list: most are one, or one object's tasks."""


Spawn = Callable[[ObjectKey, Any], Iterable[Task]]


class Graph:
    """The questions, who asked them, and what is derived. Used from one event loop."""

    def __init__(self, spawn: Mapping[Collection[Any], Spawn] | None = None) -> None:
        """``spawn``: what there is to compute because of an object; due when it is seen first."""
        self._spawn = spawn or {}
        self._objects: dict[Collection[Any], Objects[Any]] = {}
        self._askers: dict[Hashable, dict[Hashable, Askers]] = {}
        """By the two parts of a question."""
        self._questions: dict[Asker, tuple[Hashable, ...]] = {}
        """Both parts of each, one after the other: a Port has 40, and a pair weighs as much as seven."""
        self._selections: dict[Collection[Any], dict[Matching, None]] = {}
        self._values: dict[Derived, Any] = {}
        self._stale: dict[Derived, Priority] = {}
        """What is derived and has to be computed anew."""
        self._holders: dict[ObjectKey, dict[ObjectKey, None]] = {}
        """Of shared entries: the objects that have each."""
        self._due = Due()

    def objects(self, collection: Collection[T]) -> Objects[T]:
        """The objects of a collection; nobody is noted as having asked."""
        found = self._objects.get(collection)
        if found is None:
            found = self._objects[collection] = Objects(collection)
        return found

    def put(self, collection: Collection[T], key: ObjectKey, value: T | None, by: Task | None = None) -> None:
        """Store an object as it is now; None: it is gone. Who asked is due, but for ``by``, whose doing it is."""
        objects = self.objects(collection)
        old = objects.get(key)
        if old is value or old == value:
            return
        objects.put(key, value)
        priority = Priority.URGENT if collection.urgent else Priority.REST
        if self._askers:  # nobody has asked while all objects are listed at the start
            for question in self._concerned(collection, key, old, value):
                self._touch(question, priority, key=key, by=by)
        spawn = self._spawn.get(collection)
        for task in spawn(key, value if value is not None else old) if spawn else ():
            if task not in self._questions and task != by:
                self._due.add(task, min(Priority.OWN, priority))
        for part in collection.projections:
            before = part.entries(key, old) if old is not None else {}
            after = part.entries(key, value) if value is not None else {}
            for one in {**before, **after}:
                if not part.shared or self._is_news(one, key, has=one in after):
                    self.put(part.collection, one, after.get(one), by)

    def _is_news(self, entry: ObjectKey, key: ObjectKey, *, has: bool) -> bool:
        """Note whether an object has a shared entry; False where others have one that it has no more."""
        holders = self._holders.setdefault(entry, {})
        if has:
            holders[key] = None
        else:
            holders.pop(key, None)
        if not holders:
            del self._holders[entry]
        return has or not holders

    def evaluate(self, task: Task, compute: Callable[[ObjectKey, Reader], R], now: datetime | None = None) -> R:
        """Compute something; what it asks on the way is what it depends on from now on, also where it fails."""
        reader = Reader(self, now or datetime.now(UTC), task.key)
        try:
            return compute(task.key, reader)
        finally:
            self._note(task, reader)

    def peek(self, compute: Callable[[Reader], R], now: datetime | None = None) -> R:
        """Compute something once; nobody depends on it."""
        return compute(Reader(self, now or datetime.now(UTC)))

    def forget(self, task: Task) -> None:
        """Forget what is not computed any more."""
        self._note(task, Reader(self))

    def tasks(self) -> list[Task]:
        """All that has been computed, and not forgotten."""
        return [asker for asker in self._questions if isinstance(asker, Task)]

    def due(self, most: int | None = None) -> dict[Task, Priority]:
        """Who has to be looked at again since the last call. ``most``: of those who are very many; see ``crowded``."""
        while self._stale:
            self._refresh(next(iter(self._stale)))
        return self._due.take(most)

    @property
    def crowded(self) -> bool:
        """Whether ``due`` has left some for its next call."""
        return self._due.crowded

    def derived(self, function: Callable[[K, Reader], R], key: K) -> R:
        """What a function makes of a key."""
        derived = (function, key)
        if derived in self._stale:
            self._refresh(derived)
        if derived not in self._values:
            self._values[derived] = self._compute(derived)
        found: R = self._values[derived]
        return found

    def _concerned(self, collection: Collection[T], key: ObjectKey, old: T | None, new: T | None) -> list[Question]:
        """The questions that are answered differently now."""
        changed = old is None or new is None or collection.relevant(old) != collection.relevant(new)
        found: list[Question] = [(collection.whole, key)]
        if changed:
            found += [(collection, key), (collection, EVERY)]
        for index in collection.indexes.values():
            before = set(index.values(old)) if old is not None else set()
            after = set(index.values(new)) if new is not None else set()
            found += [(index, value) for value in (before | after if changed else before ^ after)]
        for matching in self._selections.get(collection, ()):
            was, is_ = matches(matching, key, old), matches(matching, key, new)
            if was != is_ or (is_ and changed):
                found.append((matching, EVERY))
        return found

    def _touch(
        self, question: Question, priority: Priority, key: ObjectKey | None = None, by: Task | None = None
    ) -> None:
        source, what = question
        found = self._askers.get(source, {}).get(what, ())
        askers: Iterable[Asker] = found if isinstance(found, list | dict) else [found] if found else ()
        if priority is Priority.REST and isinstance(found, dict) and len(found) > MOST_AT_ONCE:
            # Of one Subnet these may be 30,000. What is derived, and the object itself, do not wait.
            askers = [asker for asker in found if not isinstance(asker, Task) or asker[1] == key]
            self._due.add_crowd([asker for asker in found if isinstance(asker, Task) and asker != by], priority)
        own = min(priority, Priority.OWN)
        for asker in askers:
            if not isinstance(asker, Task):
                self._stale[asker] = min(priority, self._stale.get(asker, priority))
            elif asker != by:
                self._due.add(asker, own if asker[1] == key else priority)

    def _refresh(self, derived: Derived) -> None:
        priority = self._stale.pop(derived)
        function, key = derived
        if key not in self._askers.get(function, {}):  # nobody needs it any more
            self._values.pop(derived, None)
            self._note(derived, Reader(self))
            return
        known, before = derived in self._values, self._values.pop(derived, None)
        with contextlib.suppress(Exception):  # whoever asks for it meets it, one by one
            self._values[derived] = self._compute(derived)
        if not known or derived not in self._values or before != self._values[derived]:
            self._touch(derived, priority)

    def _compute(self, derived: Derived) -> Any:
        function, key = derived
        reader = Reader(self)
        try:
            return function(key, reader)
        finally:
            self._note(derived, reader)

    def _note(self, asker: Asker, reader: Reader) -> None:
        before, after = self._questions.get(asker, ()), reader.questions
        for question in zip(before[::2], before[1::2], strict=True):
            if question not in after:
                self._unask(question, asker)
        for question in after:
            self._ask(question, asker)
        if after:
            self._questions[asker] = tuple(part for question in after for part in question)
        else:
            self._questions.pop(asker, None)

    def _ask(self, question: Question, asker: Asker) -> None:
        source, what = question
        askers = self._askers.setdefault(source, {})
        found = askers.get(what)
        if found is None:
            askers[what] = asker
            if isinstance(source, Matching):
                self._selections.setdefault(source.collection, {})[source] = None
        elif isinstance(found, dict):
            found[asker] = None
        elif isinstance(found, list):
            if asker not in found:
                found.append(asker)
            if len(found) > FEW:
                askers[what] = dict.fromkeys(found)
        elif found != asker:
            askers[what] = [found, asker]

    def _unask(self, question: Question, asker: Asker) -> None:
        source, what = question
        askers = self._askers[source]
        found = askers[what]
        if isinstance(found, dict):
            found.pop(asker, None)
        elif isinstance(found, list):
            found.remove(asker)
        if isinstance(found, list | dict) and found:
            return
        del askers[what]
        if not askers:
            del self._askers[source]
        if isinstance(source, Matching):
            del self._selections[source.collection][source]
        elif question in self._values:
            self._stale.setdefault(question, Priority.REST)  # what is derived has a function and a key

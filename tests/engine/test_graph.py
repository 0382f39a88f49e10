"""Who is looked at again: everybody who would be answered differently, and nobody who did not ask."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtnet.engine.collection import Collection, Projection
from virtnet.engine.due import Priority, Task
from virtnet.engine.graph import Graph, Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.selector import Requirement, Selector


@dataclass(frozen=True)
class Item:
    """An object with a colour, a weight that concerns others, and a note that does not."""

    colour: str
    weight: int
    note: int = 0


PARTS: Collection[int] = Collection("Part", indexes={"parity": lambda weight: [weight % 2]})
ITEMS: Collection[Item] = Collection(
    "Item",
    relevant=lambda item: (item.colour, item.weight),
    indexes={"colour": lambda item: [item.colour]},
    labels=lambda item: {"colour": item.colour, "heavy": str(item.weight > 1)},
    projections=[Projection(PARTS, lambda key, item: {key._replace(kind="Part"): item.weight})],
)
HURRIED: Collection[int] = Collection("Hurried", urgent=True)
NAMES = "abcd"
COLOURS = ("red", "blue")


def key(name: str, kind: str = "Item") -> ObjectKey:
    return ObjectKey(kind, "demo", name)


def total(colour: str, reader: Reader) -> int:
    return sum(item.weight for item in reader.by(ITEMS, "colour", colour))


def heavier(_: None, reader: Reader) -> str:
    """Derived of what is derived."""
    return max(COLOURS, key=lambda colour: (reader.derive(total, colour), colour))


QUESTIONS: dict[str, Callable[[ObjectKey, Reader], object]] = {
    "get": lambda it, reader: (found := reader.get(ITEMS, it)) and (found.colour, found.weight),
    "whole": lambda it, reader: reader.whole(ITEMS, it),
    "by": lambda _, reader: [(one.colour, one.weight) for one in reader.by(ITEMS, "colour", "red")],
    "every": lambda _, reader: sorted((one.colour, one.weight) for one in reader.every(ITEMS)),
    "matching": lambda _, reader: [
        (one.colour, one.weight) for one in reader.matching(ITEMS, "demo", Selector.of({"heavy": "True"}))
    ],
    "derived": lambda _, reader: reader.derive(total, "blue"),
    "derived twice": lambda _, reader: reader.derive(heavier, None),
    "projected": lambda it, reader: (reader.get(PARTS, it._replace(kind="Part")), reader.by(PARTS, "parity", 1)),
    # What it asks next depends on what it was answered.
    "on and on": lambda it, reader: (
        reader.by(ITEMS, "colour", found.colour) and found.colour if (found := reader.get(ITEMS, it)) else None
    ),
}
TASKS = [Task(name, key(item)) for name in QUESTIONS for item in NAMES[:2]]

items = st.builds(Item, st.sampled_from(COLOURS), st.integers(0, 3), st.integers(0, 1))
changes = st.tuples(st.sampled_from(NAMES), st.none() | items)
bursts = st.lists(st.lists(changes, min_size=1, max_size=5), max_size=8)


def compute(graph: Graph, tasks: Iterable[Task]) -> dict[Task, object]:
    return {task: graph.evaluate(task, QUESTIONS[task.name]) for task in tasks}


@given(bursts)
def test_what_is_computed_step_by_step_is_what_is_computed_from_nothing(
    history: list[list[tuple[str, Item | None]]],
) -> None:
    graph = Graph()
    answers = compute(graph, TASKS)
    for burst in history:
        for name, item in burst:
            graph.put(ITEMS, key(name), item)
        due = graph.due()
        answers |= compute(graph, due)
        fresh = Graph()
        for name in NAMES:
            fresh.put(ITEMS, key(name), graph.objects(ITEMS).get(key(name)))
        assert answers == compute(fresh, TASKS)


@given(bursts, changes)
def test_nobody_is_looked_at_again_whose_answer_could_not_differ(
    history: list[list[tuple[str, Item | None]]], last: tuple[str, Item | None]
) -> None:
    """But for indexes and selections, which tell of each object that they have."""
    graph = Graph()
    for name, item in (change for burst in history for change in burst):
        graph.put(ITEMS, key(name), item)
    before = compute(graph, TASKS)
    graph.due()
    graph.put(ITEMS, key(last[0]), last[1])
    due = graph.due()
    after = {task: graph.peek(partial(QUESTIONS[task.name], task.key)) for task in TASKS}
    precise = {"get", "whole", "derived", "derived twice"}
    assert {task for task in due if task.name in precise} == {
        task for task in TASKS if task.name in precise and before[task] != after[task]
    }


def test_who_asked_for_the_relevant_part_does_not_hear_of_the_rest() -> None:
    graph = Graph()
    graph.put(ITEMS, key("a"), Item("red", 1))
    compute(graph, [Task("get", key("a")), Task("whole", key("a")), Task("every", key("b"))])
    graph.put(ITEMS, key("a"), Item("red", 1, note=7))
    assert set(graph.due()) == {Task("whole", key("a"))}


def test_whose_doing_it_is_is_not_told() -> None:
    graph, by, other = Graph(), Task("get", key("a")), Task("get", key("a", "Item"))._replace(name="whole")
    compute(graph, [by, other])
    graph.put(ITEMS, key("a"), Item("red", 1), by=by)
    assert set(graph.due()) == {other}


def test_what_has_happened_to_the_object_itself_comes_before_what_has_happened_to_others() -> None:
    graph = Graph()
    graph.evaluate(Task("own", key("a")), lambda it, reader: reader.get(ITEMS, it))
    graph.evaluate(Task("other", key("b")), lambda _, reader: reader.get(ITEMS, key("a")))
    graph.evaluate(Task("hurried", key("c")), lambda _, reader: reader.get(HURRIED, key("a", "Hurried")))
    graph.put(ITEMS, key("a"), Item("red", 1))
    graph.put(HURRIED, key("a", "Hurried"), 1)
    assert {task.name: priority for task, priority in graph.due().items()} == {
        "own": Priority.OWN,
        "other": Priority.REST,
        "hurried": Priority.URGENT,
    }


def test_an_object_that_is_seen_first_gives_rise_to_its_tasks_once() -> None:
    graph = Graph({ITEMS: lambda it, _: [Task("get", it)]})
    graph.put(ITEMS, key("a"), Item("red", 1))
    assert set(graph.due()) == {Task("get", key("a"))}
    compute(graph, [Task("get", key("a"))])
    graph.put(ITEMS, key("a"), Item("red", 1, note=2))
    assert graph.due() == {}
    graph.put(ITEMS, key("a"), None)
    assert set(graph.due()) == {Task("get", key("a"))}
    graph.forget(Task("get", key("a")))
    assert graph.tasks() == []


def test_nothing_is_kept_of_what_nobody_asks_any_more() -> None:
    graph = Graph()
    for item in NAMES:
        graph.put(ITEMS, key(item), Item("blue", 1))
    compute(graph, TASKS)
    for task in TASKS:
        graph.forget(task)
    graph.due()
    assert (graph._askers, graph._questions, graph._values, graph._stale) == ({}, {}, {}, {})
    assert not any(graph._selections.values())


def test_what_cannot_be_derived_fails_for_those_who_ask_for_it_and_is_tried_when_it_changes() -> None:
    def broken(name: str, reader: Reader) -> int:
        item = reader.get(ITEMS, key(name))
        return 1 // (item.weight if item else 0)

    graph, task = Graph(), Task("broken", key("a"))
    with pytest.raises(ZeroDivisionError):
        graph.evaluate(task, lambda it, reader: reader.derive(broken, it.name))
    graph.put(ITEMS, key("a"), Item("red", 1))
    assert set(graph.due()) == {task}
    assert graph.evaluate(task, lambda it, reader: reader.derive(broken, it.name)) == 1


def test_what_is_derived_must_not_depend_on_the_time() -> None:
    with pytest.raises(RuntimeError, match="must not depend on the time"):
        Graph().evaluate(Task("late", key("a")), lambda _, reader: reader.derive(lambda _, inner: inner.now, None))
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert Graph().evaluate(Task("now", key("a")), lambda _, reader: reader.now, moment) == moment


@pytest.mark.parametrize(
    ("requirement", "labels", "holds"),
    [
        (Requirement("tier", "In", frozenset({"db", "web"})), {"tier": "db"}, True),
        (Requirement("tier", "In", frozenset({"db"})), {}, False),
        (Requirement("tier", "NotIn", frozenset({"db"})), {"tier": "db"}, False),
        (Requirement("tier", "NotIn", frozenset({"db"})), {}, True),
        (Requirement("tier", "Exists"), {"tier": ""}, True),
        (Requirement("tier", "Exists"), {}, False),
        (Requirement("tier", "DoesNotExist"), {"tier": "x"}, False),
        (Requirement("tier", "DoesNotExist"), {}, True),
    ],
)
def test_selectors_mean_what_kubernetes_means(requirement: Requirement, labels: dict[str, str], holds: bool) -> None:
    assert Selector(frozenset({requirement})).matches(labels) is holds
    assert Selector().matches(labels)


SHARED: Collection[str] = Collection("Shared")
SHARING: Collection[str] = Collection(
    "Sharing",
    projections=[Projection(SHARED, lambda _, text: {SHARED.key(one): one for one in text.split()}, shared=True)],
)


def test_what_several_objects_share_is_there_while_one_of_them_has_it() -> None:
    graph = Graph({SHARED: lambda key, _: [Task("look", key)]})
    first, second = (SHARING.key(name) for name in ("first", "second"))
    graph.put(SHARING, first, "a b")
    graph.put(SHARING, second, "b c")
    for task in graph.due():
        graph.evaluate(task, lambda key, reader: reader.get(SHARED, key))
    graph.put(SHARING, first, None)
    assert {one.key.name for one in graph.due()} == {"a"}
    assert sorted(graph.objects(SHARED)) == ["b", "c"]
    graph.put(SHARING, second, "c")
    assert sorted(graph.objects(SHARED)) == ["c"]
    graph.put(SHARING, second, None)
    assert not graph.objects(SHARED)

"""A change that concerns thousands: they are due part by part, and whoever must not wait does not."""

from tests.engine.test_graph import ITEMS, Item, key, total
from virtnet.engine.due import Priority, Task
from virtnet.engine.graph import MOST_AT_ONCE, Graph, Reader
from virtnet.engine.keys import ObjectKey

CROWD = [Task("one", key(f"asker{number}")) for number in range(3 * MOST_AT_ONCE)]
OWN, ELSEWHERE = Task("own", key("a")), Task("sum", key("b"))
PART = 500


def heard(_: ObjectKey, reader: Reader) -> Item | None:
    return reader.get(ITEMS, key("a"))


def crowded() -> Graph:
    graph = Graph()
    graph.put(ITEMS, key("a"), Item("red", 1))
    for task in (*CROWD, OWN):
        graph.evaluate(task, heard)
    graph.evaluate(ELSEWHERE, lambda _, reader: reader.derive(total, "red"))
    graph.due()
    return graph


def test_they_come_part_by_part() -> None:
    graph = crowded()
    graph.put(ITEMS, key("a"), Item("red", 2))
    first = graph.due(PART)
    assert first[OWN] is Priority.OWN, "the object itself does not wait"
    assert ELSEWHERE in first, "nor does what is derived"
    assert len(first) <= PART + 2
    assert graph.crowded
    found = dict(first)
    while graph.crowded:
        part = graph.due(PART)
        assert len(part) <= PART
        found |= part
    assert found.keys() == {*CROWD, OWN, ELSEWHERE}
    assert not graph.due(PART)


def test_they_come_at_once_where_nobody_bounds_it() -> None:
    graph = crowded()
    graph.put(ITEMS, key("a"), Item("red", 2))
    assert graph.due().keys() == {*CROWD, OWN, ELSEWHERE}
    assert not graph.crowded


def test_what_is_urgent_meanwhile_is_due_at_once() -> None:
    graph = crowded()
    graph.put(ITEMS, key("a"), Item("red", 2))
    last = CROWD[-1]
    graph.evaluate(last, lambda it, reader: reader.get(ITEMS, it))
    graph.put(ITEMS, last.key, Item("red", 1))
    assert graph.due(PART)[last] is Priority.OWN
    assert graph.crowded

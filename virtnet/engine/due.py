"""Who has to be looked at again, and how soon."""

import enum
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from virtnet.engine.keys import ObjectKey


class Priority(enum.IntEnum):
    """What is looked at first."""

    URGENT = 0
    """Something has happened that a guest waits for, such as in a migration."""
    OWN = 1
    """The object itself has changed."""
    REST = 2
    """Something that the object depends on has changed, and maybe thousands with it."""


_NOT_DUE = len(Priority)


class Task(NamedTuple):
    """One thing to compute about one object: ``compile`` its rows, ``report`` its status."""

    name: str
    key: ObjectKey


class Due:
    """Tasks that are due. Of a change that concerns very many, these are made due part by part."""

    def __init__(self) -> None:
        self._tasks: dict[Task, Priority] = {}
        self._crowds: deque[tuple[Iterator[Task], Priority]] = deque()

    @property
    def crowded(self) -> bool:
        """Whether ``take`` has left some for its next call."""
        return bool(self._crowds)

    def add(self, task: Task, priority: Priority) -> None:
        """Make a task due; one that is due already keeps the more urgent priority."""
        if priority < self._tasks.get(task, _NOT_DUE):
            self._tasks[task] = priority

    def add_crowd(self, tasks: Iterable[Task], priority: Priority) -> None:
        """Make very many due, by and by."""
        self._crowds.append((iter(tasks), priority))

    def take(self, most: int | None = None) -> dict[Task, Priority]:
        """All that are due, and ``most`` of the very many."""
        while self._crowds and most != 0:
            crowd, priority = self._crowds[0]
            part = list(islice(crowd, most))
            for task in part:
                self.add(task, priority)
            if most is None or len(part) < most:
                self._crowds.popleft()
            most = most if most is None else most - len(part)
        due, self._tasks = self._tasks, {}
        return due

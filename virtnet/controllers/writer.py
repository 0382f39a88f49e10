"""The writer of OVN's northbound database: tasks that are due -> rows -> one transaction. The only one.

It waits for nobody but the database: what follows from a commit is carried out by others, from queues of their own.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import structlog
from prometheus_client import Histogram

from virtnet.controllers.batches import bisect
from virtnet.controllers.state import COMPILE, COMPILERS, ControllerState
from virtnet.controllers.worker import Queue
from virtnet.engine.due import Task
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import Outcome, Publish
from virtnet.features.ovn_state import COMMITS, ROWS, Commit
from virtnet.ovn.errors import Fenced, OvnRejected, OvnUnavailable, Stale
from virtnet.ovn.northbound import Northbound
from virtnet.topology.availability import fitted
from virtnet.topology.difference import difference
from virtnet.topology.rows import Key, Op, Row

log = structlog.get_logger()

Compile = Callable[[ObjectKey, Reader], Outcome]

PART_SECONDS = 0.003
"""How long objects are looked at before what was found is written, so that one that migrates never waits for thousands
that do not."""


def _compiled(compute: Compile, key: ObjectKey, reader: Reader) -> Outcome:
    """The outcome of an object; what somebody else does to its rows makes it due again."""
    reader.whole(ROWS, key)
    return compute(key, reader)


RANK = {kind: rank for rank, kind in enumerate(COMPILERS)}


def rows_queue() -> Queue[Task]:
    """The queue of a writer: what others hang on comes first, else thousands of Ports fail before their Subnet."""
    return Queue("rows", rank=lambda task: RANK[task.key.kind], ranks=len(RANK))


class Writer:
    """Compiles what is due, and writes it."""

    def __init__(
        self,
        state: ControllerState,
        northbound: Northbound,
        queue: Queue[Task],
        effect: Callable[[object], None],
        committed: Histogram,
    ) -> None:
        """``effect``: carries out, or queues, what follows from a commit. Must not block."""
        self._state = state
        self._northbound = northbound
        self._queue = queue
        self._effect = effect
        self._committed = committed
        self._writing: frozenset[ObjectKey] = frozenset()
        self._generations: dict[ObjectKey, int] = {}
        """Of the objects whose outcomes are being written."""
        self._changed: set[ObjectKey] = set()
        """Whose rows have changed while they were written, by whomever."""
        northbound.on_change(self.observe)

    async def run(self) -> None:
        """Write for ever. Raises Fenced when another controller has the database's lock."""
        while True:
            await self._queue.wait()
            await self.write(self.compile())
            await asyncio.sleep(0)  # a part without anything to write has waited for nobody: now others have their turn

    def observe(self, keys: Iterable[Key]) -> None:
        """Note rows of ours that somebody has changed, or that came with another database."""
        for origin in {key.origin for key in keys}:
            key = ObjectKey.parse(origin)
            if key in self._writing:
                self._changed.add(key)
            else:
                self._note_rows(key)

    def compile(self) -> dict[ObjectKey, Outcome]:
        """Look at what is due, the most urgent first, for a part of a moment."""
        outcomes: dict[ObjectKey, Outcome] = {}
        end, least = time.perf_counter() + PART_SECONDS, self._queue.least
        while (task := self._queue.take()) is not None:
            outcome = self._compile(task)
            if outcome is not None:
                outcomes[task.key] = outcome
            if time.perf_counter() > end or self._queue.least is not least:
                break
        return outcomes

    def _compile(self, task: Task) -> Outcome | None:
        compute = COMPILERS[task.key.kind]
        if compute is None:
            return None
        self._generations[task.key] = self._state.generation(task.key)
        if self._state.is_lost(task.key):  # guests use what OVN has of it
            return Outcome(None)
        try:
            return self._state.graph.evaluate(task, partial(_compiled, compute))
        except Exception:  # one object that nobody thought of must not stop the work on all others
            log.exception("not compiled", key=str(task.key))
            self._queue.failed(task)
            return None

    async def write(self, outcomes: Mapping[ObjectKey, Outcome]) -> None:
        """Commit what was compiled. What cannot be written is tried again; the rest does not wait for it."""
        self._writing = frozenset(outcomes)
        try:
            # Nothing to write, too: who has been deposed must not ask nodes for anything either.
            failures = await self._commit(outcomes)
        finally:
            self._writing = frozenset()
        changed, self._changed = self._changed, set()
        for key, outcome in outcomes.items():
            self._after(key, outcome, failures.get(key), changed=key in changed)

    def plan(self, outcomes: Mapping[ObjectKey, Outcome]) -> list[Op]:
        """The operations of all, as one transaction."""
        rows: list[Row] = []
        observed: list[Row] = []
        for key, outcome in outcomes.items():
            if outcome.rows is not None:
                rows += outcome.rows
                observed += self._northbound.of(str(key))
        return difference(fitted(rows, self._northbound.available).rows, observed)

    async def _commit(self, outcomes: Mapping[ObjectKey, Outcome]) -> Mapping[ObjectKey, Exception]:
        """Commit all, in one transaction if that can be; why those failed that could not.

        One that cannot be written, say because its name is taken, is found by halves.
        """

        async def attempt(keys: Sequence[ObjectKey]) -> None:
            await self._transact(self.plan({key: outcomes[key] for key in keys}))

        ordered = sorted(outcomes, key=lambda key: (RANK[key.kind], key))
        try:
            if not ordered:
                await self._transact([])
            failures = await bisect(ordered, attempt, (Fenced, OvnUnavailable))
        except OvnUnavailable as error:
            log.warning("to be retried", keys=len(outcomes), error=str(error))
            return dict.fromkeys(outcomes, error)
        for key, failure in failures.items():
            foreseen = isinstance(failure, OvnRejected | Stale)
            log.warning("not written", key=str(key), error=str(failure), exc_info=None if foreseen else failure)
        return failures

    async def _transact(self, operations: list[Op]) -> None:
        began, result = time.perf_counter(), "error"
        try:
            await self._northbound.commit(operations)
            result = "ok"
        finally:
            if operations:
                self._committed.labels(result).observe(time.perf_counter() - began)

    def _after(self, key: ObjectKey, outcome: Outcome, failure: Exception | None, *, changed: bool) -> None:
        """Note what OVN has of an object now, and what follows. ``changed``: whether that was other rows before."""
        task = Task(COMPILE, key)
        self._note_commit(key, outcome, failure)
        if failure is not None:
            self._note_rows(key)
            self._queue.failed(task)
            return
        self._queue.succeeded(task)
        if changed:
            # What we have written ourselves is no news, unless there is more to it, or somebody else has written too.
            news = outcome.unfinished or self.plan({key: outcome})
            self._note_rows(key, by=None if news else task)
        for effect in outcome.effects:
            if isinstance(effect, Publish):
                self._state.tell(effect.collection, effect.key, effect.value, by=task)
            else:
                self._effect(effect)
        if outcome.again is not None:
            self._queue.add_later(task, outcome.again)
        if not self._state.exists(key) and not self._northbound.of(str(key)):
            self._state.graph.forget(task)

    def _note_commit(self, key: ObjectKey, outcome: Outcome, failure: Exception | None) -> None:
        before = self._state.objects(COMMITS).get(key)
        generation = self._generations.pop(key, 0)
        if not self._state.exists(key):
            self._state.tell(COMMITS, key, None)
        elif failure is not None:
            self._state.tell(COMMITS, key, Commit(before.generation if before else -1, f"not in OVN: {failure}"))
        elif outcome.rows is not None:
            lacks = fitted(outcome.rows, self._northbound.available).lacks
            missing = tuple(sorted({one for found in lacks.values() for one in found}))
            self._state.tell(COMMITS, key, Commit(generation, lacks=missing))

    def _note_rows(self, key: ObjectKey, by: Task | None = None) -> None:
        self._state.tell(ROWS, key, tuple(self._northbound.of(str(key))) or None, by)

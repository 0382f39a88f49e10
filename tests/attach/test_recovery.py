"""Order at the start of the daemon, where the kernel refuses what is asked of it: it starts all the same."""

from pathlib import Path
from typing import Any

from tests.attach.samples import journaled
from virtnet.api.nic_kinds import SERVED_NICS
from virtnet.node.attach import Attacher, Parts
from virtnet.node.daemon import NodeSettings, drivers_of
from virtnet.node.handoff.assignments import Assignments
from virtnet.node.handoff.flow_hold import FlowHold
from virtnet.node.journal import Entry, Journal
from virtnet.node.nics import Drivers
from virtnet.node.recovery import recover


class Refusing:
    """A kernel, and the parts that ask it: it says nothing of some NICs, and deletes none of some others."""

    unknown = frozenset({"c1"})
    stuck = frozenset({"c2"})

    async def alive(self, entry: Entry) -> bool:
        if entry.container in self.unknown:
            raise OSError(24, "too many open files")
        return False

    def plan(self, entry: Entry) -> tuple[Any, ...]:
        return (self,)

    async def undo(self, what: Any) -> None:
        if isinstance(what, Entry) and what.container in self.stuck:
            raise OSError(16, "device or resource busy")

    async def dead(self) -> set[Any]:
        return set()

    def marked(self) -> tuple[Any, ...]:
        return ()


def test_there_is_a_driver_of_each_kind_that_is_served() -> None:
    """And of no other: the journal leaves those of other kinds alone."""
    anything: Any = None
    assert tuple(drivers_of(NodeSettings("node-a"), anything, anything).by_kind) == SERVED_NICS


async def test_what_cannot_be_recovered_holds_up_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for container in ("c1", "c2", "c3"):
        await journal.write(journaled(container=container))
    node: Any = Refusing()
    assignments = Assignments()
    parts = Parts(
        journal,
        node,
        node,
        Drivers({"veth": node}),
        node,
        node,
        assignments,
        node,
        FlowHold(assignments, None),
        node,
        0,
    )
    await recover(Attacher(parts), parts)
    assert {entry.container: entry.state for entry in journal} == {"c1": "Attached", "c2": "Detaching"}
    journal.close()

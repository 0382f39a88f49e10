"""Order at the start of the daemon, where the kernel refuses what is asked of it: it starts all the same."""

from pathlib import Path
from typing import Any

from tests.attach.rig import journaled
from virtnet.node.asked import Asked
from virtnet.node.attach import Attacher, Parts
from virtnet.node.journal import Entry, Journal
from virtnet.node.onward import Onward
from virtnet.node.tidy import tidy


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


async def test_what_cannot_be_tidied_holds_up_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for container in ("c1", "c2", "c3"):
        await journal.write(journaled(container=container))
    node: Any = Refusing()
    asked = Asked()
    parts = Parts(journal, node, node, {"veth": node}, node, node, asked, Onward(asked, None), 0)
    await tidy(Attacher(parts), parts)
    assert {entry.container: entry.state for entry in journal} == {"c1": "Attached", "c2": "Detaching"}
    journal.close()

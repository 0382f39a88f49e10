"""One driver per NIC kind, behind one protocol.

A driver is a list of steps. The attacher writes the journal before the first of them, does them in order, and undoes
them in reverse; each must be able to find what a crash has left of itself, so doing and undoing twice is harmless.
"""

from typing import Protocol

from virtnet.node.journal import Entry


class Step(Protocol):
    """One change, and how it is taken back. Both are idempotent."""

    async def do(self, entry: Entry) -> None:
        """Raises CniError when it cannot be done."""
        ...

    async def undo(self, entry: Entry) -> None: ...


class Driver(Protocol):
    """A NIC kind."""

    def plan(self, entry: Entry) -> tuple[Step, ...]:
        """What makes the NIC exist, in order; the port of the switch is not among it."""
        ...

    async def observe(self, entry: Entry) -> str:
        """The MAC of the host's end. Raises CniError when the NIC is not there as it should be."""
        ...

    async def alive(self, entry: Entry) -> bool:
        """Whether the NIC is there at all. It is gone once its sandbox is."""
        ...

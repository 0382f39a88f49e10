"""A tenant who makes Subnets by the hundred in the Vpc of all: what that costs the controller grows as they do.

Counted are calls of functions, and turns of generators, which no other process on the machine changes.
"""

import sys
from types import FrameType
from typing import Any

import pytest

from tests.controllers.states import put
from tests.topology.samples import VPC, subnet
from virtnet.api import Subnet
from virtnet.controllers.metrics import Metrics
from virtnet.controllers.state import COMPILE, KINDS, REPORT, ControllerState
from virtnet.controllers.worker import Queue
from virtnet.controllers.writer import Writer
from virtnet.engine.due import Task
from virtnet.ovn.fake import FakeNorthbound

FEW, MANY = 200, 1_000
TWICE_AS_MUCH_EACH = 2
"""What of each Subnet may cost more where there are five times as many; of what is quadratic it would be five."""


class Attack:
    """A controller's state, and a tenant who makes Subnets in ClusterVpc default."""

    def __init__(self) -> None:
        self.state = ControllerState()
        self.rows: Queue[Task] = Queue("rows")
        self.writer = Writer(self.state, FakeNorthbound(), self.rows, lambda _: None, Metrics().transactions)
        self.looked = 0
        put(self.state, VPC)

    def make(self, subnets: list[Subnet]) -> None:
        """Subnets come together, and everything that they make due is looked at."""
        for one in subnets:
            put(self.state, one)
        while due := self.state.graph.due():
            self.looked += len(due)
            for task, priority in due.items():
                if task.name == COMPILE:
                    self.rows.add(task, priority)
                elif task.name == REPORT and (report := KINDS[task.key.kind].report):
                    self.state.graph.evaluate(task, report)
            while self.rows:
                self.writer.compile()


def made(first: int, last: int) -> list[Subnet]:
    return [subnet(f"m{number}", f"11.{number >> 8}.{number & 255}.0/24") for number in range(first, last)]


def calls(work: Any) -> int:
    """How many calls something makes."""
    count = 0

    def note(_: FrameType, event: str, __: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_subnets_of_one_vpc_cost_no_more_each_where_there_are_many() -> None:
    few, many = (calls(lambda number=number: Attack().make(made(0, number))) for number in (FEW, MANY))
    assert many / MANY < TWICE_AS_MUCH_EACH * few / FEW


@pytest.mark.parametrize("there", [400, 2_000])
def test_one_more_subnet_has_no_other_looked_at_again(there: int) -> None:
    attack = Attack()
    attack.make(made(0, there))
    attack.looked = 0
    attack.make(made(there, there + 1))
    assert attack.looked <= 4, "its rows and its report, and those of the Vpc"

"""What is tested here is a machine's NICs, so all but one test run in the emulated machine alone."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hardware import igb
from tests.hardware.igb import Igb

INSIDE = os.environ.get("HARDWARE") == "emulated"
OUTSIDE = "test_hardware.py"

collect_ignore = [OUTSIDE] if INSIDE else []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent != Path(__file__).parent:
            continue
        item.add_marker(pytest.mark.lab)
        if not INSIDE and item.path.name != OUTSIDE:
            item.add_marker(pytest.mark.skip("is run in an emulated machine: python -m tests.hardware"))


@pytest.fixture
def pf() -> Iterator[Igb]:
    """The igb, which is up and has no VFs."""
    found = igb.find()
    found.up()
    yield found
    found.set_vfs(0)

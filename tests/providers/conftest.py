from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.providers.rig import Machines, machines


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Machines]:
    with machines(tmp_path) as found:
        yield found

"""A launcher pod for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.binding.pod import Pod


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    made = Pod(tmp_path)
    yield made
    await made.stop()

"""Every module that the machine is to have is loaded: what was left out would look like a fault of something else."""

from pathlib import Path

import pytest

from tests.hardware.testbed import MODULES


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_loaded(name: str) -> None:
    assert (Path("/sys/module") / name).is_dir()

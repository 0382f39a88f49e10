"""The tests beside this one pass on the emulated machine, which has NICs to spare."""

from pathlib import Path

import pytest

from tests.hardware import testbed


@pytest.mark.skipif(bool(testbed.missing()), reason=testbed.missing())
def test_tests_of_hardware_pass_on_an_emulated_machine(tmp_path: Path) -> None:
    ended = testbed.run_tests(tmp_path, ())
    assert ended.status == 0, ended.output

"""A run of tests leaves no namespace and no process, also where it is told to end in the middle."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attach.rig import REPOSITORY, eventually, run

pytestmark = pytest.mark.system

STAYS_UP = """
import pathlib, signal
from tests.attach.rig import Node

def test_it(tmp_path):
    with Node.running(tmp_path) as node:
        node.sandbox()
        pathlib.Path({began!r}).write_text(node.name)
        signal.pause()
"""


def test_a_run_that_is_told_to_end_takes_its_node_down(tmp_path: Path) -> None:
    test, began = tmp_path / "test_waits.py", tmp_path / "began"
    test.write_text(STAYS_UP.format(began=str(began)))
    command = (sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", str(test))
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE) as process:
        eventually(lambda: began.exists() and began.read_text(), "its node is there")
        name = began.read_text()
        assert name in run("ip", "netns", "list")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert name not in run("ip", "netns", "list")

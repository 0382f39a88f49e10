"""Runs pytest with the words given, or all tests of hardware, in the emulated machine: python -m tests.hardware WORD..."""

import sys
import tempfile
from pathlib import Path

from tests.hardware import testbed

if testbed.missing():
    sys.exit(testbed.missing())
with tempfile.TemporaryDirectory(prefix="hardware-") as directory:
    ended = testbed.run_tests(Path(directory), sys.argv[1:])
sys.stdout.write(ended.output)
sys.exit(ended.status)

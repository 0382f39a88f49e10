"""Where Open vSwitch forwards in tests: in userspace, or, for ``system``, in the kernel, where that can (tests/kernel)."""

import os

import pytest

DATAPATH = os.environ.get("DATAPATH", "netdev")
KERNEL = DATAPATH == "system"
in_kernel = pytest.mark.skipif(not KERNEL, reason="is about a switch in the kernel, and run in tests/kernel")
in_userspace = pytest.mark.skipif(KERNEL, reason="is about a switch in userspace")

"""What a node does is the same where Open vSwitch forwards in the kernel, as on most nodes: some of its tests run there."""

import sys
from pathlib import Path

import pytest

from tests.attach.rig import REPOSITORY
from tests.kernel.machine import Machine, run
from virtnet.lab.image import debian_kernel

pytestmark = pytest.mark.lab

SECONDS = 1200
MODULES = (
    *("openvswitch", "vport_geneve", "nf_tables", "veth", "tun", "bridge"),
    *("8021q", "bonding", "team", "team_mode_activebackup", "macvlan", "vrf", "sch_tbf"),
)
TESTS = (
    "tests/attach/test_gates.py",
    "tests/attach/test_twice.py",
    "tests/attach/test_flow_hold.py",
    "tests/providers/test_changes.py::test_a_nic_that_is_renamed",
    "tests/providers/test_changes.py::test_a_nic_that_has_its_name_back",
    "tests/providers/test_devices.py",
    "tests/providers/test_plugging.py::test_what_the_node_has_moves_to_the_bridge_and_back",
    "tests/providers/test_restarts.py::test_a_switch_in_the_kernel_goes_on_while_its_process_is_away",
    "tests/providers/test_messages.py::test_people_are_told[a switch in the kernel whose process has died]",
)


def machine() -> Machine:
    return Machine(debian_kernel(), MODULES, cpus=2)


def test_tests_of_nodes_pass_with_the_kernels_datapath(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider", *TESTS]
    ended = run(machine(), tmp_path, command, directory=REPOSITORY, seconds=SECONDS, DATAPATH="system")
    assert ended.status == 0, ended.output


def test_a_machine_says_how_its_command_ended(tmp_path: Path) -> None:
    ended = run(machine(), tmp_path, ["sh", "-c", "uname -r; exit 3"], directory=tmp_path, seconds=120)
    assert ended.status == 3
    assert "-cloud-" in ended.output

"""Sockets of NICs on vhost-user: what the daemon leaves when it is killed, and where a pod leads the switch."""

import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.attach.dpdk import DpdkNode
from tests.attach.rig import Node, eventually, run
from tests.attach.world import World
from virtnet.api import NodeNetwork
from virtnet.node.devices.switch import has_mempools

SWAPS = """
import os, sys, time
place, victim = sys.argv[1:]
while True:
    for make, other in ((os.symlink, victim), (os.link, "own.sock")):
        make(other, "next")
        os.rename("next", place)
        time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def node_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with DpdkNode.with_pages(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture
def alone(node: Node) -> DpdkNode:
    """A node whose OVN says yes to all."""
    assert isinstance(node, DpdkNode)
    return node


def whole(node: Node) -> tuple[int, int, int]:
    """Ports, directories that are shown, records: of one NIC, or of none."""
    return len(node.interfaces()), len(node.shown()), len(node.journal())


def test_the_drivers_of_a_switch_are_seen(alone: DpdkNode) -> None:
    maps = Path(f"/proc/{alone.daemons['vswitchd'].pid}/maps").read_text()
    assert "/librte_eal." in maps
    assert has_mempools(maps)


@pytest.mark.parametrize("at", ["do:0", "do:3", "do:4", "do:5"])
def test_killed_in_add(alone: DpdkNode, at: str) -> None:
    node, netns = alone, alone.sandbox()
    node.launcher()
    node.restart_daemon(CRASH_AT=at)
    assert node.refused(netns=netns)["code"] == 11
    eventually(lambda: node.daemon.pid is None, "the daemon is dead")
    node.start_daemon()
    assert whole(node) == ((1, 1, 1) if at == "do:5" else (0, 0, 0))
    node.add(netns=netns)
    assert whole(node) == (1, 1, 1)
    assert node.cni("CHECK", netns=netns) == (0, None)


@pytest.mark.parametrize("at", ["undo:0", "undo:3", "undo:4"])
def test_killed_in_del(alone: DpdkNode, at: str) -> None:
    node, netns = alone, alone.sandbox()
    node.launcher()
    node.add(netns=netns)
    node.restart_daemon(CRASH_AT=at)
    assert node.refused("DEL", netns=netns)["code"] == 11
    eventually(lambda: node.daemon.pid is None, "the daemon is dead")
    node.start_daemon()
    assert whole(node) == (0, 0, 0)


def test_a_lost_journal_costs_no_guest_its_port(alone: DpdkNode) -> None:
    node, netns = alone, alone.sandbox()
    node.launcher()
    node.add(netns=netns)
    node.daemon.kill()
    for path in node.journal():
        path.unlink()
    node.start_daemon()
    assert whole(node) == (1, 1, 0)
    assert node.cni("GC", valid=[]) == (0, None)
    assert whole(node) == (0, 0, 0)


def test_a_directory_that_is_gone_is_told_of_and_shown_anew(alone: DpdkNode) -> None:
    node, netns = alone, alone.sandbox()
    node.launcher()
    node.add(netns=netns)
    run("umount", str(node.shown()[0]))
    assert node.refused("CHECK", netns=netns)["code"] == 5
    node.add(netns=netns)
    assert whole(node) == (1, 1, 1)


def refused(node: DpdkNode, since: int, why: str) -> None:
    """Wait until the switch says that it could not connect."""
    said = f"failed to connect: {why}"
    eventually(lambda: said in node.daemons["vswitchd"].log.read_text()[since:], said)


def said(node: DpdkNode) -> int:
    """How much the switch has said by now."""
    return len(node.daemons["vswitchd"].log.read_text())


def let_go(of: socket.socket) -> bool:
    """End a connection, if there is one, so that the switch comes again."""
    if there := connected(of):
        of.accept()[0].close()
    return there


def led(to: socket.socket, instead_of: socket.socket) -> bool:
    let_go(instead_of)
    return connected(to)


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as found:
        here = os.open(path.parent, os.O_PATH)
        found.bind(f"/proc/self/fd/{here}/{path.name}")  # of whatever length its path is
        os.close(here)
        found.listen()
        yield found


def connected(to: socket.socket) -> bool:
    """Whether anybody has connected to it."""
    return bool(select.select([to], [], [], 0)[0])


def test_a_pod_leads_the_switch_to_no_other_socket(alone: DpdkNode) -> None:
    """Of another guest, say: not even a pod of root's, which changes what is there all the while.

    The control is a way to the pod's directory on which links are followed.
    """
    node, launcher, before = alone, alone.launcher(), said(alone)
    with listening(node.state / "victim.sock") as victim, listening(launcher.volume / "own.sock") as own:
        path = node.state / "victim.sock"
        launcher.socket.symlink_to(path)
        node.add()
        refused(node, before, "Too many levels of symbolic links")
        words = (sys.executable, "-c", SWAPS, str(launcher.socket), str(path))
        with subprocess.Popen(words, cwd=launcher.volume) as pod:
            try:
                for _ in range(5):  # and as often, more or less, it has met the link
                    eventually(lambda: let_go(own), "the switch is led within the directory")
                assert not connected(victim)
                (shown,) = node.shown()
                run("umount", str(shown))
                shown.rmdir()
                shown.symlink_to(launcher.volume)
                eventually(lambda: led(victim, own), "the switch follows what it may follow")
                shown.unlink()
            finally:
                pod.kill()


@pytest.mark.parametrize("make", [os.mkfifo, Path.touch, os.mkdir])
def test_what_is_no_socket_holds_up_nobody(alone: DpdkNode, make: Callable[[Path], None]) -> None:
    node, launcher, before = alone, alone.launcher(), said(alone)
    make(launcher.socket)
    node.add()
    refused(node, before, "Connection refused")
    assert node.cni("DEL") == (0, None)


def test_a_pod_without_the_directory(alone: DpdkNode) -> None:
    node = alone
    node.pod(nic="vhostuser")
    answer = node.refused(netns=node.sandbox())
    assert answer["code"] == 11
    assert "has no volume public, where its sockets are to be" in answer["msg"]
    assert whole(node) == (0, 0, 0)


def have_datapath(node: Node, kind: str) -> None:
    """Also for ovn-controller, which puts the bridge back to what it is told."""
    told = ("set", "Open_vSwitch", ".", f"external_ids:ovn-bridge-datapath-type={kind}")
    node.vsctl(*told, "--", "set", "Bridge", "br-int", f"datapath_type={kind}")


async def test_the_node_says_whether_it_serves_them(world: World) -> None:
    node = world.node

    def says(status: str, reason: str) -> Callable[[NodeNetwork], bool]:
        return lambda own: any(
            (one.type, one.status, one.reason) == ("VhostUser", status, reason) for one in own.status.conditions
        )

    own = await world.until(says("True", "Served"), "it does")
    assert own.status.devices.dpdk.initialized
    assert own.status.devices.dpdk.version in node.vsctl("get", "Open_vSwitch", ".", "dpdk_version")
    have_datapath(node, "system")
    await world.until(says("False", "KernelDatapath"), "not in the kernel")
    have_datapath(node, "netdev")
    node.daemons["vswitchd"].kill()
    node.vsctl("remove", "Open_vSwitch", ".", "other_config", "dpdk-init")
    Node.start_vswitchd(node)
    await world.until(says("False", "DpdkOff"), "DPDK is off")
    node.daemons["vswitchd"].kill()
    node.start_vswitchd()
    await world.until(says("True", "Served"), "it does again")

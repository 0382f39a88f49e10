"""NICs on vhost-user, by a real switch with DPDK and a real OVN: a guest is reached, whatever dies on either side."""

import json
import os
import re
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.attach.dpdk import MOUNTED, Application, DpdkNode, answers
from tests.attach.rig import Node, eventually, run
from tests.attach.samples import MAC
from tests.attach.world import World
from virtnet.api import NodeNetwork
from virtnet.api.vhostuser import POD_VOLUME
from virtnet.lab.dpdk import LONGEST_SLEEP_US
from virtnet.lab.ovn_central import OvnCentral
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
DEVICE_INFO = Path("/var/run/k8s.cni.cncf.io/devinfo/cni")
PEER_MAC, PEER = "02:76:6e:00:00:06", "demo/web.blue"


@pytest.fixture(scope="module")
def node_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with DpdkNode.with_pages(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture
def dpdk(node: Node, real_ovn: OvnCentral) -> Iterator[DpdkNode]:
    """A node, and OVN with a switch of two ports."""
    assert isinstance(node, DpdkNode)
    for port, mac, address in (("demo/db.blue", MAC, "10.0.0.5"), (PEER, PEER_MAC, "10.0.0.6")):
        real_ovn.nbctl(
            *("--may-exist", "ls-add", "blue", "--", "--may-exist", "lsp-add", "blue", port),
            *("--", "lsp-set-addresses", port, f"{mac} {address}"),
        )
    node.restart_daemon(OVN="real")
    yield node
    node.clean()
    node.restart_daemon()


def column(node: Node, name: str) -> str:
    (port,) = (one for one in node.interfaces() if one.startswith("vh"))
    return node.vsctl("get", "Interface", port, name).strip('"')


def peer(node: Node) -> str:
    """A pod on a veth in the same bridge; returns its network namespace."""
    netns = node.sandbox()
    node.pod("peer", port=PEER, mac=PEER_MAC, addresses=("10.0.0.6/24",), configure=True)
    node.add("peer", pod="peer", netns=netns)
    return netns


def test_a_guest_and_a_pod_on_a_veth_reach_each_other(dpdk: DpdkNode) -> None:
    node, launcher, netns = dpdk, dpdk.launcher(), dpdk.sandbox()
    result = node.add(netns=netns)
    assert result["interfaces"][-1] == {
        "name": "pod1",
        "mac": MAC,
        "sandbox": netns,
        "mtu": 1400,
        "socketPath": "/var/run/kubevirt/vhostuser-pod1.sock",
    }
    assert column(node, "external_ids:ovn-installed") == "true", "OVN has flows before there is a guest"
    assert column(node, "link_state") == "down"
    web = peer(node)
    guest = launcher.start(MAC)
    eventually(partial(answers, web, "10.0.0.5"), "the guest answers")
    assert (column(node, "link_state"), column(node, "mtu")) == ("up", "1400")
    assert node.cni("CHECK", netns=netns) == (0, None)

    node.daemons["vswitchd"].kill()
    node.start_vswitchd()
    eventually(partial(answers, web, "10.0.0.5"), "after a restart of the switch the guest answers")

    guest.kill()
    launcher.start(MAC)
    eventually(partial(answers, web, "10.0.0.5"), "a guest that QEMU starts anew answers")

    (name,) = (one for one in node.interfaces() if one.startswith("vh"))
    node.vsctl("del-port", name)
    eventually(partial(answers, web, "10.0.0.5"), "the port that the switch has lost is back")

    assert node.add(netns=netns) == result
    assert answers(web, "10.0.0.5"), "a repeated ADD disturbs nobody"
    assert node.cni("DEL", netns=netns) == (0, None)
    assert not answers(web, "10.0.0.5")
    assert node.shown() == []


def test_an_application_of_a_pod_and_a_pod_on_a_veth_reach_each_other(dpdk: DpdkNode, tmp_path: Path) -> None:
    node = dpdk
    uid = node.pod(nic="vhostuser", configure=True, socketDirectory=MOUNTED)
    with Application.with_volume(tmp_path, node.volume(uid, POD_VOLUME)) as application:
        said = DEVICE_INFO / f"blue-net-{application.name}_pod1"
        config = {"cniVersion": "1.1.0", "name": "blue-net", "type": "virtnet-cni", "subnet": "blue"}
        asked = json.dumps({**config, "runtimeConfig": {"CNIDeviceInfoFile": str(said)}})
        netns = f"/run/netns/{application.name}"
        result = node.add(application.name, netns=netns, config=asked)
        path = result["interfaces"][-1]["socketPath"]
        assert path == f"{MOUNTED}/vhostuser-pod1.sock"
        assert json.loads(said.read_text()) == {
            "type": "vhost-user", "version": "1.1.0", "vhost-user": {"mode": "server", "path": path},
        }  # fmt: skip
        application.serve(Path(path).name, MAC)
        application.vsctl("set", "Bridge", "br-int", f"other_config:hwaddr={json.dumps(MAC)}")
        for words in ("address add 10.0.0.5/24 dev br-int", "link set br-int up"):
            run("ip", "-n", application.name, *words.split())
        web = peer(node)
        eventually(partial(answers, web, "10.0.0.5"), "the application answers")
        assert node.cni("DEL", container=application.name, netns=netns, config=asked) == (0, None)
        assert not said.exists()
    assert node.shown() == []


SLEEP_US, ROUNDS, TIMES = "5000", 1026, 3
"""Threads that poll look by themselves which rings are in use once in so many of their rounds, and sleep in each."""


@pytest.fixture
def sleepy(dpdk: DpdkNode) -> Iterator[DpdkNode]:
    """A node whose test may have the switch's threads sleep longer."""
    yield dpdk
    have_sleep(dpdk, LONGEST_SLEEP_US)


def have_sleep(node: Node, us: str) -> None:
    node.vsctl("set", "Open_vSwitch", ".", *(f"other_config:{key}={us}" for key in ("pmd-maxsleep", "pmd-sleep-max")))


def rounds(node: Node) -> int:
    """How many the threads that poll have made by now."""
    (control,) = node.state.glob(f"*.{node.daemons['vswitchd'].pid}.ctl")
    return sum(
        map(int, re.findall(r"Iterations: +(\d+)", run("ovs-appctl", "-t", str(control), "dpif-netdev/pmd-perf-show")))
    )


def at(node: Node, wanted: int) -> None:
    """Wait until threads have made so many rounds."""
    eventually(lambda: rounds(node) >= wanted, f"{wanted} rounds")


def test_a_guest_is_heard_before_threads_that_sleep_look_by_themselves(sleepy: DpdkNode) -> None:
    """QEMU takes the NIC from the switch with a guest that it stops, and gives it back as after a migration."""
    node, launcher = sleepy, sleepy.launcher()
    node.add(netns=node.sandbox())
    web, waited = peer(node), 0
    launcher.start(MAC)
    eventually(partial(answers, web, "10.0.0.5"), "the guest answers")
    # Not before: whenever firmware and kernel reset the NIC, QEMU and all of the guest wait for a look by these threads.
    have_sleep(node, SLEEP_US)
    for _ in range(TIMES):
        launcher.tell("stop")
        eventually(lambda: column(node, "link_state") == "down", "the switch has no guest")
        at(node, rounds(node) + ROUNDS)
        before = rounds(node)
        launcher.tell("cont")
        run("ip", "netns", "exec", Path(web).name, "ping", "-c", "1", "-i", "0.02", "-w", "60", "10.0.0.5")
        waited += rounds(node) - before
    assert waited < ROUNDS / 2
    eventually(lambda: column(node, "other_config") == "{}", "all is as it was")


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

"""NICs on vhost-user, by a real switch with DPDK and a real OVN: a guest is reached, whatever dies on either side."""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.attach.dpdk import MOUNTED, Application, DpdkNode, answers
from tests.attach.rig import Node, eventually, run
from tests.attach.samples import MAC
from virtnet.api.vhostuser import POD_VOLUME
from virtnet.lab.dpdk import LONGEST_SLEEP_US
from virtnet.lab.ovn_central import OvnCentral

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

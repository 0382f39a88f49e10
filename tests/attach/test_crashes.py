"""kill -9 between every two steps, and lost databases: afterwards there is exactly nothing, or exactly one NIC."""

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.attach.rig import Node, eventually, run
from virtnet.node.nics.veth import host_name
from virtnet.node.request import AttachmentId

STEPS = 6
"""The pair, the gate, the pod's end, the switch's port, the wait for OVN, the answer."""


def killed(node: Node, at: str, command: str, netns: str) -> None:
    node.restart_daemon(CRASH_AT=at)
    assert node.refused(command, netns=netns)["code"] == 11
    eventually(lambda: node.daemon.pid is None, "the daemon is dead")
    node.start_daemon()


@pytest.mark.parametrize("step", range(STEPS))
def test_killed_at_any_step_of_add(node: Node, step: int) -> None:
    node.pod()
    netns = node.sandbox()
    killed(node, f"do:{step}", "ADD", netns)
    assert node.attached == (1 if step == STEPS - 1 else 0)
    node.add(netns=netns)
    assert node.attached == 1
    assert node.cni("CHECK", netns=netns) == (0, None)
    assert node.cni("DEL", netns=netns) == (0, None)
    assert node.nothing_left


@pytest.mark.parametrize("command", ["DEL", "GC"])
def test_killed_in_add_and_never_asked_again(node: Node, command: str) -> None:
    node.pod()
    killed(node, f"do:{STEPS - 2}", "ADD", node.sandbox())
    assert node.cni(command, valid=[]) == (0, None)
    assert node.nothing_left


@pytest.mark.parametrize("step", range(STEPS - 1))
def test_killed_at_any_step_of_del(node: Node, step: int) -> None:
    node.pod()
    netns = node.sandbox()
    node.add(netns=netns)
    killed(node, f"undo:{step}", "DEL", netns)
    assert node.nothing_left
    assert node.cni("DEL", netns=netns) == (0, None)
    node.add(netns=netns)
    assert node.attached == 1
    assert node.cni("CHECK", netns=netns) == (0, None)


def test_what_is_attached_outlives_the_daemon(node: Node) -> None:
    node.pod()
    netns = node.sandbox()
    node.add(netns=netns)
    before = node.interfaces()
    node.daemon.kill()
    assert node.interfaces() == before
    node.start_daemon()
    node.restart_daemon()
    assert node.interfaces() == before
    assert node.cni("CHECK", netns=netns) == (0, None)


def test_messages_to_end_in_the_middle_of_add(node: Node) -> None:
    node.restart_daemon(OVN="sleeps", PATIENCE="60")
    node.pod()
    netns = node.sandbox()
    with subprocess.Popen(
        [node.state / "bin/virtnet-cni"],
        env={
            "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_IFNAME": "pod1", "CNI_NETNS": netns,
            "CNI_ARGS": "K8S_POD_NAMESPACE=demo;K8S_POD_NAME=launcher",
        },
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as plugin:  # fmt: skip
        assert plugin.stdin is not None
        plugin.stdin.write('{"cniVersion": "1.1.0", "name": "blue-net"}')
        plugin.stdin.close()
        plugin.stdin = None
        eventually(node.interfaces, "ADD waits for OVN")
        node.daemon.stop(grace=10)
        out, _ = plugin.communicate(timeout=10)
        assert json.loads(out)["code"] == 11
    assert node.attached == 1, "nothing is taken back by a process that ends"
    node.start_daemon()
    assert node.nothing_left


def test_sandboxes_that_went_while_the_daemon_was_away(node: Node) -> None:
    node.pod()
    netns = node.sandbox()
    node.add(netns=netns)
    node.daemon.kill()
    run("ip", "netns", "del", Path(netns).name)
    eventually(lambda: not node.links(), "the kernel deletes the pair")
    node.start_daemon()
    assert node.nothing_left


def test_foreign_links_and_ports_stay(node: Node) -> None:
    dead = AttachmentId("c9", "pod1")
    node.daemon.stop()
    link = ("ip", "-n", node.name, "link")
    run(*link, "add", host_name(dead), "type", "veth", "peer", "name", "x9")
    run(*link, "set", host_name(dead), "alias", dead.mark)
    run(*link, "add", "foreign", "type", "veth", "peer", "name", "foreign2")
    run(*link, "set", "foreign", "alias", "somebody's")
    marks = ["external_ids:virtnet/container=c9", "external_ids:virtnet/ifname=pod1", "external_ids:iface-id=demo/x"]
    node.vsctl("add-port", "br-int", host_name(dead), "--", "set", "Interface", host_name(dead), *marks)
    node.vsctl("add-port", "br-int", "foreign", "--", "set", "Interface", "foreign", "external_ids:owner=other")
    foreign = ("--columns=_uuid,name,type,external_ids", "list", "Interface", "foreign")
    before = node.vsctl(*foreign)
    node.start_daemon()
    node.pod()
    node.add()
    node.clean()
    assert node.nothing_left
    assert node.vsctl(*foreign) == before
    assert "foreign" in node.vsctl("list-ports", "br-int").split()
    run(*link, "show", "foreign")
    node.vsctl("del-port", "br-int", "foreign")
    run(*link, "del", "foreign")


@pytest.mark.parametrize("how", ["DEL", "GC"])
def test_a_lost_journal_costs_no_vm_its_network(node: Node, how: str) -> None:
    node.pod()
    netns = node.sandbox()
    node.add(netns=netns)
    before = node.interfaces()
    node.daemon.kill()
    for path in node.journal():
        path.write_text("torn")
    node.start_daemon()
    assert node.interfaces() == before
    assert [path.suffix for path in node.journal()] == [".unreadable"]
    node.journal()[0].unlink()
    assert node.cni(how, valid=[]) == (0, None)
    assert node.nothing_left


def test_a_daemon_waits_for_the_one_before_it_to_end(node: Node) -> None:
    """As in a rollout in which the old pod takes its time."""
    node.pod()
    netns = node.sandbox()
    node.add(netns=netns)
    first = node.daemon
    first.freeze()
    second = node.background("second", *first.command[3:], **first.environment)
    with contextlib.suppress(subprocess.TimeoutExpired):  # more than enough to find the journal in use
        subprocess.run(["tail", f"--pid={second.pid}", "-f", "/dev/null"], timeout=3, check=True)
    assert second.pid is not None, second.last_words()
    node.socket.unlink()
    first.kill()
    node.daemons["virtnet"] = node.daemons.pop("second")
    eventually(node.socket.exists, "the second one serves")
    assert node.cni("CHECK", netns=netns) == (0, None)


@pytest.fixture
def full_disk(node: Node) -> Iterator[Callable[[], None]]:
    """What fills the disk that the journal is on."""
    directory = node.state / "journal"
    node.daemon.stop()
    run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(directory))
    node.start_daemon()

    def fill() -> None:
        with (directory / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(512))

    yield fill
    node.daemon.stop()
    run("umount", str(directory))
    node.start_daemon()


def test_a_full_disk_keeps_no_pod(node: Node, full_disk: Callable[[], None]) -> None:
    """The end of pods is what gives room; new ones wait for it."""
    node.pod()
    netns = node.sandbox()
    node.add(netns=netns)
    full_disk()
    answer = node.refused(container="c2", netns=node.sandbox())
    assert answer["code"] == 11
    assert "is not attached without a note in the node's journal: [Errno 28] No space left on device" in answer["msg"]
    assert node.attached == 1
    assert node.cni("CHECK", netns=netns) == (0, None)
    assert node.cni("DEL", netns=netns) == (0, None)
    assert node.nothing_left


def test_the_switchs_database_restarts(node: Node) -> None:
    node.pod()
    netns = node.sandbox()
    node.add(netns=netns)
    node.daemons["ovsdb"].kill()
    answer = node.refused("DEL", netns=netns)
    assert answer["code"] == 11, "a DEL that did nothing must not say that it did"
    assert node.refused("ADD", netns=netns)["code"] == 11
    assert node.refused("STATUS")["code"] == 50
    node.start_database()
    eventually(lambda: node.cni("STATUS")[0] == 0, "it has reconnected")
    assert node.cni("DEL", netns=netns) == (0, None)
    assert node.nothing_left


def test_the_switchs_database_restarts_while_nobody_asks(node: Node) -> None:
    node.pod()
    netns = node.sandbox()
    node.add(netns=netns)
    before = node.interfaces()
    node.daemons["ovsdb"].kill()
    node.start_database()
    eventually(lambda: node.cni("STATUS")[0] == 0, "it has reconnected")
    assert node.cni("CHECK", netns=netns) == (0, None)
    assert node.interfaces() == before


def test_the_switchs_database_is_lost(node: Node) -> None:
    node.pod()
    netns = node.sandbox()
    node.add(netns=netns)
    before = node.interfaces()
    node.daemons["vswitchd"].stop()
    node.daemons["ovsdb"].kill()
    (node.state / "conf.db").unlink()
    (node.state / "db.sock").unlink()
    node.start_switch()
    eventually(lambda: node.interfaces() == before, "the port is back, and bound")
    assert node.cni("CHECK", netns=netns) == (0, None)


def test_a_port_that_somebody_removed_comes_back(node: Node) -> None:
    node.pod()
    node.add()
    before = node.interfaces()
    node.vsctl("del-port", node.links()[0])
    eventually(lambda: node.interfaces() == before, "the port is back")


def test_a_port_that_cannot_come_back_holds_up_no_other(node: Node) -> None:
    """Somebody has taken the first one's name for a port of his own."""
    first, second = host_name(AttachmentId("c1", "pod1")), host_name(AttachmentId("c2", "pod1"))
    for container in ("c1", "c2"):
        node.pod(container, port=f"demo/{container}.blue")
        node.add(container, pod=container)
    node.vsctl(
        *("del-port", first, "--", "del-port", second, "--", "--id=@mine", "create", "Interface", "name=mine"),
        *("--", "--id=@port", "create", "Port", f"name={first}", "interfaces=@mine"),
        *("--", "add", "Bridge", "br-int", "ports", "@port"),
    )
    eventually(lambda: second in node.interfaces(), "the other port is back")
    assert first not in node.interfaces()
    node.vsctl("del-port", first)
    eventually(lambda: first in node.interfaces(), "it is back, too")


@pytest.mark.parametrize("step", [0, 1])
def test_killed_while_a_port_is_taken_over(node: Node, step: int) -> None:
    """What is let go of in the journal is let go of in the switch, whoever asks or does not."""
    node.pod("first")
    node.add("c1", pod="first")
    node.forget("first")
    node.pod("second")
    node.restart_daemon(CRASH_AT=f"release:{step}")
    assert node.refused("ADD", container="c2", pod="second", netns=node.sandbox())["code"] == 11
    eventually(lambda: node.daemon.pid is None, "the daemon is dead")
    node.start_daemon()
    eventually(lambda: node.claims() == {"c1": None}, "nobody claims the port")

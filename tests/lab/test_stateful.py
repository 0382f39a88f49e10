"""TCP flows that only a stateful rule lets through, over a live migration: those a guest has opened, and a server's.

So are copies of what a guest says: a collector has each packet once, whatever node it is on. The rules are written into OVN by hand: virtnet has no security groups yet. One side alone sends (see peer.py), so that
nothing but what it sends, and its acknowledgement, can tell the target's connection tracker of the flow.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import collector
from tests.lab.collector import Collector, answered
from tests.lab.labs import running
from virtnet.api.meta import API_VERSION
from virtnet.api.port_mirror import ClusterPortMirror
from virtnet.kube import kinds
from virtnet.lab import migrate, netns
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import Demo, until
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.demo.probes import answers
from virtnet.lab.lab import Lab

pytestmark = pytest.mark.lab

MIRRORS = kinds.of(ClusterPortMirror)
PROBE = f"{NAMESPACE}/probe"
PORT = f"{NAMESPACE}/app.blue"
STALLED = 6.0
"""Seconds without progress after which a flow is given up for lost; one that survives moves on within one."""

PEER = Path(__file__).with_name("peer.py")

Rule = tuple[str, int, str, str]
CALLED: Rule = ("to-lport", 2000, "tcp.dst == 10", "allow-related")
"""How the peer asks the guest to call; of no matter to the call itself."""

STATEFUL: tuple[Rule, ...] = (
    CALLED,
    ("from-lport", 1000, "ip4", "allow-related"),
    ("to-lport", 1000, "ip4", "drop"),
)
SERVER: tuple[Rule, ...] = (
    ("to-lport", 1200, "tcp.dst == 11", "allow-related"),
    ("from-lport", 1000, "ip4", "drop"),
    ("to-lport", 1000, "ip4", "drop"),
)
"""It may be called at one port, and opens nothing itself."""

ESTABLISHED = "tcp && !(tcp.flags[1] == 1 && tcp.flags[4] == 0)"
"""Every segment but one that opens a connection (SYN without ACK)."""

BY_FLAGS: tuple[Rule, ...] = (
    ("from-lport", 1500, ESTABLISHED, "allow-stateless"),
    ("to-lport", 1500, ESTABLISHED, "allow-stateless"),
)
"""Beside the stateful rules, which then decide who may open a connection."""


class Rig:
    """The lab, its VM, and the rules."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.demo = Demo(lab)

    def start(self) -> None:
        for body in (manifests.namespace(), manifests.subnet(), manifests.nad(), manifests.probe("node3")):
            self.demo.apply(body)
        self.demo.apply(manifests.vm("app"))
        self.guest = self.demo.pinned("app")[0]
        until(lambda: self.demo.node_of("app") and self.demo.pod_runs("probe"), "the VM and the pod running")
        self.peer = self.demo.address_of_pod("probe")
        until(lambda: answers(self.lab, PROBE, self.guest), "the VM answering")
        (self.switch,) = self.nbctl("--bare", "--columns=name", "list", "Logical_Switch").split()

    def nbctl(self, *words: str) -> str:
        central = self.lab.names.central
        return netns.run("ovn-nbctl", "--wait=hv", f"--db={self.lab.names.northbound}", *words, netns=central)

    def rules(self, *rules: Rule) -> None:
        self.nbctl("acl-del", self.switch)
        for direction, priority, match, action in rules:
            port = "inport" if direction == "from-lport" else "outport"
            self.nbctl("acl-add", self.switch, direction, str(priority), f'{port} == "{PORT}" && {match}', action)

    def migrated(self, way: str = "called") -> float:
        """Seconds that a flow stood still which was opened before the migration; STALLED if for good."""
        words = [str(PEER), self.guest, self.peer, str(STALLED), way]
        command = self.lab.command([sys.executable, *words], pod=PROBE)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as flow:
            assert flow.stdin is not None
            assert flow.stdout is not None
            assert flow.stdout.readline() == "flowing\n"
            self.migrate()
            flow.stdin.write("\n")
            flow.stdin.flush()
            return float(json.loads(flow.stdout.readline())["gap"])

    def migrate(self) -> None:
        to = "node1" if self.demo.node_of("app") != "node1" else "node2"
        self.lab.ask(lambda cluster: migrate.migrate(cluster, "app", NAMESPACE, to=to))

    def lets_in(self) -> bool:
        """Whether a new connection to the guest is let in."""
        script = f"import socket; socket.create_connection(({self.guest!r}, 7), timeout=2)"
        command = self.lab.command([sys.executable, "-c", script], pod=PROBE)
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running("stateful", 3) as lab:
        found = Rig(lab)
        found.start()
        yield found


def test_a_flow_that_only_the_connection_tracker_knows_may_stand_still(rig: Rig) -> None:
    """The target's tracker knows nothing of it until the guest sends: only what it had yet to say helps it on.

    How long is chance, and so not asserted; that it goes on once the guest speaks is.
    """
    rig.rules(*STATEFUL)
    assert not rig.lets_in()
    rig.migrated()
    rig.rules()
    until(lambda: answers(rig.lab, PROBE, rig.guest), "the VM answering without rules")


def test_a_flow_known_by_the_flags_of_its_segments_goes_on_and_nobody_else_gets_in(rig: Rig) -> None:
    rig.rules(*STATEFUL, *BY_FLAGS)
    assert not rig.lets_in()
    assert rig.migrated() < STALLED
    assert not rig.lets_in(), "the rules let a new connection in"


@pytest.mark.parametrize("way", ["listen", "talk"])
def test_a_servers_flows_go_on_by_the_same_rules(rig: Rig, way: str) -> None:
    rig.rules(*SERVER, *BY_FLAGS)
    assert rig.migrated(way) < STALLED
    assert not rig.lets_in(), "the rules let in who calls another port"


def test_a_server_that_is_called_goes_on_though_the_tracker_knows_nothing(rig: Rig) -> None:
    """What its peer sends is let in as a call would be, and its answers with it. One that only talks may stand still."""
    rig.rules(*SERVER)
    assert rig.migrated("listen") < STALLED
    assert not rig.lets_in()


def test_a_collector_has_each_packet_of_a_guest_once_wherever_it_is(rig: Rig) -> None:
    rig.rules()
    mirror = {
        "apiVersion": API_VERSION,
        "kind": ClusterPortMirror.__name__,
        "metadata": {"name": "ids"},
        "spec": {"networks": ["blue"], "collector": {"address": collector.ADDRESS, "key": 7}},
    }
    rig.lab.ask(lambda cluster: cluster.create(MIRRORS, mirror))
    with Collector.listening(rig.lab) as copies:

        def copied() -> int:
            """Of a ping and its answer, once those of a later ping would have come."""
            pattern, _ = (answered(rig.lab, PROBE, rig.guest) for _ in range(2))
            return copies.of(pattern)

        for _ in range(2):
            until(lambda: copied() == 2, "each packet is copied once")
            rig.migrate()
        rig.lab.ask(lambda cluster: cluster.delete(MIRRORS, "ids"))
        until(lambda: copied() == 0, "nothing is copied any more")

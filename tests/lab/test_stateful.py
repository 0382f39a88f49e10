"""TCP flows that a guest has opened, and rules that let nothing in but answers, over a live migration.

The rules are written into OVN by hand: virtnet has no security groups yet. The peer alone sends (numbered lines, each 10
ms), so that nothing but what it sends can tell the target's connection tracker of the flow.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.labs import running
from virtnet.lab import migrate, netns
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import Demo, until
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.demo.probes import answers
from virtnet.lab.lab import Lab

pytestmark = pytest.mark.lab

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
ESTABLISHED = "tcp && !(tcp.flags[1] == 1 && tcp.flags[4] == 0)"
"""Every segment but one that opens a connection (SYN without ACK)."""

BY_FLAGS: tuple[Rule, ...] = (
    *STATEFUL,
    ("from-lport", 1500, ESTABLISHED, "allow-stateless"),
    ("to-lport", 1500, ESTABLISHED, "allow-stateless"),
)


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

    def migrated(self) -> float:
        """Seconds that a flow stood still which the guest opened before the migration; STALLED if for good."""
        command = self.lab.command([sys.executable, str(PEER), self.guest, self.peer, str(STALLED)], pod=PROBE)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as flow:
            assert flow.stdin is not None
            assert flow.stdout is not None
            assert flow.stdout.readline() == "flowing\n"
            to = "node1" if self.demo.node_of("app") != "node1" else "node2"
            self.lab.ask(lambda cluster: migrate.migrate(cluster, "app", NAMESPACE, to=to))
            flow.stdin.write("\n")
            flow.stdin.flush()
            return float(json.loads(flow.stdout.readline())["gap"])

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
    rig.rules(*BY_FLAGS)
    assert not rig.lets_in()
    assert rig.migrated() < STALLED
    assert not rig.lets_in(), "the rules let a new connection in"

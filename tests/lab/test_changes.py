"""A Subnet that changes under a running guest, seen from its peers and from the guest."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.labs import running
from virtnet.api import Port, Subnet
from virtnet.kube import kinds
from virtnet.lab import migrate
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import SUBNETS, Demo, until
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.demo.probes import answers
from virtnet.lab.lab import Lab

pytestmark = pytest.mark.lab

PROBE = f"{NAMESPACE}/probe"
OVERHEAD = 28
"""Bytes of a ping that are not its data."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running("changes", 2) as lab:
        demo = Demo(lab)
        for body in (manifests.namespace(), manifests.subnet(), manifests.nad(), manifests.probe("node1")):
            demo.apply(body)
        demo.apply(manifests.vm("db"))
        until(lambda: demo.node_of("db") and demo.pod_runs("probe"), "the VM and the pod running")
        yield lab


def change(lab: Lab, **spec: Any) -> None:
    lab.ask(lambda cluster: cluster.patch(SUBNETS, "blue", {"spec": spec}, NAMESPACE))


def largest_passes(lab: Lab, address: str, mtu: int) -> bool:
    """Whether a guest answers a packet as large as an MTU, whole."""
    words = ["ping", "-c", "1", "-W", "1", "-M", "do", "-s", str(mtu - OVERHEAD), address]
    return subprocess.run(lab.command(words, pod=PROBE), capture_output=True, check=False).returncode == 0


def test_a_guest_keeps_its_mtu_over_a_migration_and_takes_the_new_one_at_its_next_start(lab: Lab) -> None:
    demo = Demo(lab)
    address, _ = demo.pinned("db")

    def mtu() -> int:
        return Port.parse(demo.get(kinds.of(Port), "db.blue") or {}).spec.mtu

    until(lambda: largest_passes(lab, address, 1442), "the guest answering")
    change(lab, mtu=1300)
    to = "node2" if demo.node_of("db") == "node1" else "node1"
    lab.ask(lambda cluster: migrate.migrate(cluster, "db", NAMESPACE, to=to))
    until(lambda: demo.node_of("db") == to, "migrated")
    until(lambda: largest_passes(lab, address, 1442), "the guest answering whole packets as before")
    assert mtu() == 1442
    demo.set_run("db", "Halted")
    until(lambda: not demo.node_of("db") and mtu() == 0, "stopped")
    demo.set_run("db", "Always")
    until(lambda: demo.node_of("db"), "started")
    until(lambda: answers(lab, PROBE, address), "the guest answering")
    assert mtu() == 1300
    assert not largest_passes(lab, address, 1442)


def test_a_former_gateway_is_answered_for(lab: Lab) -> None:
    demo = Demo(lab)

    def answers_arp(address: str) -> bool:
        """Answered, though nobody has ever heard of it."""
        subprocess.run(lab.command(["ip", "neighbour", "flush", "all"], pod=PROBE), check=True, capture_output=True)
        return answers(lab, PROBE, address)

    before = Subnet.parse(demo.get(SUBNETS, "blue") or {}).status.gateways[0]
    after = f"{before.rpartition('.')[0]}.254"
    until(lambda: answers_arp(before), "the gateway")
    change(lab, gateways=[after])
    until(lambda: answers_arp(after), "the new one")
    until(lambda: answers_arp(before), "and the former one beside it")

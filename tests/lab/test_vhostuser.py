"""VMs with vhost-user NICs on two nodes whose switches have DPDK: reached and moved; and the machine as it was before."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.lab import labs
from tests.lab.handoffs import ended
from virtnet.api import HandoffRecord
from virtnet.kube.kinds import VMIMS, VMIS
from virtnet.lab import migrate
from virtnet.lab.chaos.arena import Arena
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import until
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.demo.probes import Probe, answers, neighbour
from virtnet.lab.dpdk import holds_pages
from virtnet.lab.hugepages import unheld

pytestmark = pytest.mark.lab

NAME = "dpdk"
NETWORKS = {"fast": "blue", "edge": "lan"}
"""The two VMs."""


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    with labs.running(NAME, 3, dpdk=2) as lab:
        found = Arena(lab, tuple(NETWORKS))
        for body in (
            manifests.namespace(),
            manifests.subnet(),
            manifests.nad(),
            manifests.provider_network(),
            manifests.lan(),
            manifests.nad("lan-net", clusterSubnet="lan"),
        ):
            found.demo.apply(body)
        until(lambda: len(found.demo.plugged("rack")) == 3, "NICs plugged in")
        for vm, network in NETWORKS.items():
            found.demo.apply(manifests.vm(vm, network=network, vhost_user=True))
            found.demo.apply(manifests.probe("node3", name=f"peer-{network}", network=network))
        until(lambda: all(found.demo.node_of(vm) for vm in NETWORKS), "the VMs running")
        until(lambda: all(found.demo.pod_runs(f"peer-{network}") for network in NETWORKS.values()), "the pods running")
        yield found


def peer(vm: str) -> str:
    """The pod on a VM's Subnet, on the node without DPDK."""
    return f"{NAMESPACE}/peer-{NETWORKS[vm]}"


def other(node: str) -> str:
    """That of the two with DPDK."""
    return "node2" if node == "node1" else "node1"


def answered(arena: Arena, vm: str) -> None:
    """Wait until a VM answers its peer, at all that it holds."""
    for address in arena.demo.addresses(vm):
        until(partial(answers, arena.lab, peer(vm), address), f"{vm} answering at {address}")


def over(arena: Arena, vm: str) -> HandoffRecord:
    return until(lambda: ended(arena.demo, vm, NETWORKS[vm]), "the handoff over")


@pytest.mark.parametrize("vm", NETWORKS)
def test_a_guest_has_what_its_vm_was_pinned_to_and_is_reached_from_a_switch_without_dpdk(arena: Arena, vm: str) -> None:
    address, mac = arena.demo.pinned(vm)
    answered(arena, vm)
    assert neighbour(arena.lab, peer(vm), address) == mac

    def told() -> list[str]:
        (interface,) = (arena.demo.get(VMIS, vm) or {})["status"]["interfaces"]
        return list(interface.get("ipAddresses", ()))

    until(lambda: sorted(told()) == sorted(arena.demo.addresses(vm)), "it says that DHCP has given it these")
    rows = arena.table(partial(arena.vsctl, arena.demo.node_of(vm)), "Interface", "type", "external_ids")
    port = f"{NAMESPACE}/{vm}.{NETWORKS[vm]}"
    assert [row["type"] for row in rows if row["external_ids"].get("iface-id") == port] == ["dpdkvhostuserclient"]


@pytest.mark.parametrize("vm", NETWORKS)
def test_it_goes_there_and_back_with_its_stream(arena: Arena, vm: str) -> None:
    """The first to come to its node by a migration, and one that was there before."""
    demo, (address, _), home = arena.demo, arena.demo.pinned(vm), arena.demo.node_of(vm)
    stream = Probe.start(arena.lab, peer(vm), "tcp", address)
    for source, target in ((home, other(home)), (other(home), home)):
        probe = Probe.start(arena.lab, peer(vm), "icmp", address, "--interval-ms", "2")
        arena.lab.ask(lambda cluster, to=target: migrate.migrate(cluster, vm, NAMESPACE, to=to))  # type: ignore[misc]
        record = over(arena, vm)
        answered(arena, vm)
        seen = probe.stop()
        assert (record.state, record.source, record.target) == ("Committed", source, target)
        assert record.strategy == ""
        assert demo.node_of(vm) == target
        assert 0 <= seen["lost"] < seen["sent"]
        assert record.finished_at is not None
        assert all(moment <= record.finished_at.timestamp() for moment in seen["lost_at"]), (seen["lost_at"], record)
        assert seen["duplicates"] == 0
    said = stream.stop()
    assert said["survived"]
    assert said["lines"]


def test_the_targets_switch_dies_while_the_guest_is_copied(arena: Arena) -> None:
    demo, home = arena.demo, arena.demo.node_of("fast")
    target = other(home)
    name = arena.start_migration("fast", to=target, way="slow")

    def phase() -> str:
        return str((demo.get(VMIMS, name) or {}).get("status", {}).get("phase", ""))

    until(lambda: phase() == "Running", "its memory copied")
    arena.daemons[f"{target}/ovs-vswitchd"].kill()
    arena.start(f"{target}/ovs-vswitchd")
    assert phase() == "Running", "it was over too early to show anything"
    until(lambda: phase() == "Succeeded", "the guest moved")
    record = over(arena, "fast")
    assert (record.state, record.target, demo.node_of("fast")) == ("Committed", target, target)
    answered(arena, "fast")


def test_its_huge_pages_go_with_the_lab_however_it_ends(arena: Arena) -> None:
    """The last one: nothing is left of the lab."""
    lab = arena.lab
    assert [node.dpdk for node in lab.nodes.values()] == [True, True, False]
    assert [arena.vsctl(node, "get", "Open_vSwitch", ".", "dpdk_initialized").strip() for node in lab.nodes] == [
        "true",
        "true",
        "false",
    ]
    before = unheld()
    for daemon in lab.daemons.values():
        daemon.kill()
    assert holds_pages(NAME)
    assert lab.down()
    assert not holds_pages(NAME)
    assert unheld() == before
    assert labs.leftovers(NAME) == []

"""IPv6 as guests see it: a VM of both families and one of IPv6 alone, on two Subnets of one Vpc, and on the move."""

from collections.abc import Iterator
from functools import partial
from ipaddress import IPv6Address

import pytest

from tests.lab.handoffs import ended
from tests.lab.labs import running
from virtnet.kube.kinds import VMIS
from virtnet.lab import migrate
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import Demo, until
from virtnet.lab.demo.manifests import NAMESPACE, Body
from virtnet.lab.demo.probes import Probe, answers, neighbour, ping_from_guest

pytestmark = pytest.mark.lab

MTU = 1400
ROUTERS = {"blue": "fd10:10::1", "six": "fd10:66::1"}
NETWORKS = {"both": "blue", "alone": "six"}
"""The two VMs."""


def six() -> Body:
    return {
        "apiVersion": "virtnet.dev/v1alpha1",
        "kind": "Subnet",
        "metadata": {"name": "six", "namespace": NAMESPACE},
        "spec": {"cidrs": ["fd10:66::/64"], "mtu": MTU},
    }


def blue() -> Body:
    made = manifests.subnet()
    made["spec"]["mtu"] = MTU
    return made


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with running("families", 3) as lab:
        found = Demo(lab)
        for body in (manifests.namespace(), blue(), six(), manifests.nad(), manifests.nad("six-net", subnet="six")):
            found.apply(body)
        for vm, network in NETWORKS.items():
            found.apply(manifests.vm(vm, network=network))
            found.apply(manifests.probe("node3", name=f"probe-{network}", network=network))
        until(lambda: all(found.node_of(vm) for vm in NETWORKS), "the VMs running")
        until(lambda: all(found.pod_runs(f"probe-{network}") for network in ROUTERS), "the pods running")
        for vm in NETWORKS:
            for address in found.addresses(vm):
                until(partial(answers, found.lab, peer(vm), address), f"{vm} at {address}")
        yield found


def peer(vm: str) -> str:
    """The pod on a VM's Subnet, on a node that no VM migrates to."""
    return f"{NAMESPACE}/probe-{NETWORKS[vm]}"


def link_local(mac: str) -> str:
    """As the kernel, and OVN, make one of a MAC (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]))


@pytest.mark.parametrize(("vm", "network"), NETWORKS.items())
def test_a_guest_has_its_pinned_address_and_the_advertised_router_and_mtu(demo: Demo, vm: str, network: str) -> None:
    until(lambda: answers(demo.lab, peer(vm), ROUTERS[network]), "the router answering")
    router = link_local(neighbour(demo.lab, peer(vm), ROUTERS[network]))
    line = f"virtnet-guest: eth0 {demo.addresses(vm)[-1]}/128 mtu {MTU} via {router} up"
    consoles = (demo.lab.names.state / "pods").glob("*/serial.log")
    assert [path for path in consoles if line in path.read_text()]
    (interface,) = (demo.get(VMIS, vm) or {})["status"]["interfaces"]
    assert interface["ipAddresses"] == demo.addresses(vm)


@pytest.mark.parametrize(("vm", "other"), [("both", "alone"), ("alone", "both")])
def test_guests_of_two_subnets_reach_each_other_by_the_vpcs_router(demo: Demo, vm: str, other: str) -> None:
    said = ping_from_guest(demo.lab, peer(vm), demo.addresses(vm)[0], demo.addresses(other)[-1])
    assert "3 packets received" in said


@pytest.mark.parametrize("vm", NETWORKS)
def test_no_family_loses_anything_once_the_guest_is_there(demo: Demo, vm: str) -> None:
    """Neither between its first answer and the commit, nor at the commit."""
    to = "node1" if demo.node_of(vm) != "node1" else "node2"
    probes = [Probe.start(demo.lab, peer(vm), "icmp", address, "--interval-ms", "5") for address in demo.addresses(vm)]
    demo.lab.ask(lambda cluster: migrate.migrate(cluster, vm, NAMESPACE, to=to))
    record = until(lambda: ended(demo, vm, NETWORKS[vm]), "the handoff over")
    answered = [answers(demo.lab, peer(vm), address) for address in demo.addresses(vm)]
    seen = [probe.stop() for probe in probes]
    assert all(answered)
    assert (record.state, record.target) == ("Committed", to)
    assert record.answered_at is not None, "nobody knows whether it lives"
    for one in seen:
        assert one["sent"] > one["lost"]
        assert all(moment <= record.answered_at.timestamp() for moment in one["lost_at"]), (one, record)

"""A ProviderNetwork on real nodes, and pods on a VLAN of it: what machines outside have is never used twice."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.lab.labs import running
from virtnet.api import ClusterSubnet, Condition, Port, ProviderNetwork
from virtnet.api.names import port_name
from virtnet.features.port_report import ADDRESS_CONFLICT
from virtnet.kube import kinds
from virtnet.kube.kinds import EVENTS, VMIMS
from virtnet.lab import netns
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import Demo, until
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.demo.probes import answers
from virtnet.lab.standin.ways import WAY

pytestmark = pytest.mark.lab

PORTS, PROVIDER_NETWORKS, CLUSTER_SUBNETS = (kinds.of(model) for model in (Port, ProviderNetwork, ClusterSubnet))
GATEWAY, TAKEN = "172.31.100.1", "172.31.100.50"


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with running("underlay", 3) as lab:
        found = Demo(lab)
        for body in (
            manifests.namespace(),
            manifests.provider_network(),
            manifests.lan(),
            manifests.nad("lan-net", clusterSubnet="lan"),
        ):
            found.apply(body)
        until(lambda: len(found.plugged("rack")) == 3, "NICs plugged in, one of them of another name")
        yield found


def pod(node: str, name: str, address: str = "") -> manifests.Body:
    body = manifests.probe(node, name=name, network="lan")
    if address:
        selection = [{"name": "lan-net", "interface": "net1", "ips": [f"{address}/24"]}]
        body["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"] = json.dumps(selection)
    return body


def test_pods_on_a_vlan_reach_each_other_and_machines_outside(demo: Demo) -> None:
    for node in ("node1", "node3"):
        demo.apply(pod(node, f"on-{node}"))
    until(lambda: all(demo.pod_runs(f"on-{node}") for node in ("node1", "node3")), "both running")
    here = f"{NAMESPACE}/on-node1"
    until(lambda: answers(demo.lab, here, GATEWAY), "the machine outside answering")
    until(lambda: answers(demo.lab, here, demo.address_of_pod("on-node3")), "the other pod answering")


def change(demo: Demo, kind: kinds.Kind, name: str, **spec: object) -> None:
    demo.lab.ask(lambda cluster: cluster.patch(kind, name, {"spec": spec}))


def test_a_node_is_taken_from_a_physical_network_and_given_back_while_a_guest_runs_there(demo: Demo) -> None:
    demo.apply(manifests.vm("stays", network="lan"))
    home = until(lambda: demo.node_of("stays"), "the VM running")
    peer = next(node for node in demo.lab.nodes if node != home)
    demo.apply(pod(peer, "asks"))
    until(lambda: demo.pod_runs("asks"), "its peer running")
    client, guest = f"{NAMESPACE}/asks", demo.pinned("stays")[0]
    until(lambda: answers(demo.lab, client, guest), "the VM answering")
    change(demo, PROVIDER_NETWORKS, "rack", excludeNodes=[home])
    until(lambda: home not in demo.plugged("rack"), "the NIC is the node's own again")
    until(lambda: not answers(demo.lab, client, guest), "the VM cut off")
    assert answers(demo.lab, client, GATEWAY), "other nodes go on"
    change(demo, PROVIDER_NETWORKS, "rack", excludeNodes=[])
    until(lambda: home in demo.plugged("rack"), "the NIC plugged in again")
    until(lambda: answers(demo.lab, client, guest), "the VM answering again")


def test_a_vlan_is_changed_and_corrected_while_a_guest_runs_there(demo: Demo) -> None:
    client, guest = f"{NAMESPACE}/asks", demo.pinned("stays")[0]
    change(demo, CLUSTER_SUBNETS, "lan", vlan=101)
    until(lambda: not answers(demo.lab, client, GATEWAY), "the machine outside, on VLAN 100, cut off")
    until(lambda: answers(demo.lab, client, guest), "the VM answering on another VLAN")
    change(demo, CLUSTER_SUBNETS, "lan", vlan=100)
    until(lambda: answers(demo.lab, client, GATEWAY), "the machine outside answering again")
    until(lambda: answers(demo.lab, client, guest), "the VM answering again")


ECHO = """
import socket, sys
with socket.create_connection((sys.argv[1], 7), timeout=10) as guest:
    guest.sendall(bytes(20000))
    guest.shutdown(socket.SHUT_WR)
    print(sum(map(len, iter(lambda: guest.recv(65536), b""))))
"""
"""Whole segments, there and back."""


def test_whole_frames_pass_while_a_guest_is_copied(demo: Demo) -> None:
    """They take the tunnels then; OVN must not think that those are as narrow as the guest's own link."""
    demo.apply(manifests.vm("edge", network="lan"))
    home = until(lambda: demo.node_of("edge"), "the VM running")
    target, third = (node for node in demo.lab.nodes if node != home)
    demo.apply(pod(third, "peer"))
    until(lambda: demo.pod_runs("peer"), "its peer running")
    peer, guest = f"{NAMESPACE}/peer", demo.pinned("edge")[0]
    until(lambda: answers(demo.lab, peer, guest), "the VM answering")
    migration = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstanceMigration",
        "metadata": {"name": "slow", "namespace": NAMESPACE, "annotations": {WAY: "slow"}},
        "spec": {"vmiName": "edge", "addedNodeSelector": {"kubernetes.io/hostname": target}},
    }
    demo.lab.ask(lambda cluster: cluster.create(VMIMS, migration, NAMESPACE))
    until(lambda: (demo.get(VMIMS, "slow") or {}).get("status", {}).get("phase") == "Running", "its memory copied")
    command = [sys.executable, "-c", ECHO, guest]
    for name, echo in (
        ("a pod", demo.lab.command(command, pod=peer)),
        ("outside", ["ip", "netns", "exec", demo.lab.physical.outside, *command]),
    ):
        done = subprocess.run(echo, capture_output=True, text=True, check=False)
        assert done.stdout == "20000\n", f"{name}: {done.stderr}"
    assert (demo.get(VMIMS, "slow") or {})["status"]["phase"] == "Running", "it was over too early to show anything"
    demo.lab.ask(lambda cluster: cluster.delete(VMIMS, "slow", NAMESPACE))


def conflict(demo: Demo, pod: str) -> Condition | None:
    """The Port's condition that tells of a conflict; None where there never was one."""
    body = demo.lab.ask(lambda cluster: cluster.get(PORTS, port_name(pod, "net1", pod=True), NAMESPACE))
    return next((one for one in Port.parse(body).status.conditions if one.type == ADDRESS_CONFLICT), None)


def test_an_address_of_a_machine_outside_is_not_used(demo: Demo) -> None:
    outside = demo.lab.physical.outside
    netns.ip(outside, f"address add {TAKEN}/24 dev vlan100")
    demo.apply(pod("node2", "late", TAKEN))

    def reported() -> bool:
        events, _ = demo.lab.ask(lambda cluster: cluster.list(EVENTS, NAMESPACE))
        return any(f": {TAKEN} is used by a machine outside" in event["note"] for event in events)

    until(reported, "an Event that names the conflict")
    until(lambda: conflict(demo, "late"), "a condition of the Port")
    found = conflict(demo, "late")
    assert found is not None
    assert (found.status, found.reason) == ("True", "UsedOutside")
    assert f"node2 cannot attach it: {TAKEN} is used by a machine outside" in found.message
    assert not demo.pod_runs("late")
    netns.ip(outside, f"address delete {TAKEN}/24 dev vlan100")
    until(lambda: demo.pod_runs("late"), "running once the address is free")
    until(lambda: (now := conflict(demo, "late")) and now.status == "False", "the condition taken back")


def test_underlay_and_overlay_of_one_vpc_reach_each_other(demo: Demo) -> None:
    """By the router's own address beside the physical gateway; a machine outside has no way to it, nor by it."""
    mixed, inner = manifests.lan(), manifests.subnet()
    mixed["metadata"] = {"name": "mixed"}
    mixed["spec"] |= {"cidrs": ["172.31.101.0/24"], "ranges": ["172.31.101.100-172.31.101.199"]}
    mixed["spec"]["routerAddresses"] = ["172.31.101.2"]
    inner["metadata"]["name"] = "inner"
    inner["spec"] = {"cidrs": ["10.77.0.0/24"], "vpc": {"kind": "ClusterVpc"}}
    for body in (
        mixed,
        inner,
        manifests.nad("mixed-net", clusterSubnet="mixed"),
        manifests.nad("inner-net", subnet="inner"),
    ):
        demo.apply(body)
    demo.apply(manifests.probe("node1", name="mixed", network="mixed"))
    behind_router = manifests.probe("node2", name="inner", network="inner")
    selection = [{"name": "inner-net", "interface": "net1", "default-route": ["10.77.0.1"]}]
    behind_router["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"] = json.dumps(selection)
    demo.apply(behind_router)
    until(lambda: demo.pod_runs("mixed") and demo.pod_runs("inner"), "both running")
    there, behind = demo.address_of_pod("mixed"), demo.address_of_pod("inner")
    until(lambda: answers(demo.lab, f"{NAMESPACE}/mixed", behind), "the overlay answering the underlay")
    until(lambda: answers(demo.lab, f"{NAMESPACE}/inner", there), "the underlay answering the overlay")
    outside = demo.lab.physical.outside
    netns.ip(outside, "address add 172.31.101.1/24 dev vlan100", "route add 10.77.0.0/24 via 172.31.101.2")
    reached = {
        address: subprocess.run(
            [*netns.prefix(outside), "ping", "-c", "3", "-W", "1", "-i", "0.3", address],
            capture_output=True,
            check=False,
        ).returncode
        == 0
        for address in (there, "172.31.101.2", behind)
    }
    assert reached == {there: True, "172.31.101.2": False, behind: False}


def test_the_vpcs_router_is_not_told_of_outside(demo: Demo) -> None:
    """It is on every node: each would answer, and switches outside would never know where it is."""
    six = manifests.lan()
    six["metadata"] = {"name": "lan6"}
    six["spec"] |= {"cidrs": ["fd31::/64"], "ranges": ["fd31::100-fd31::1ff"], "logicalGateway": True}
    demo.apply(six)
    demo.apply(manifests.nad("lan6-net", clusterSubnet="lan6"))
    demo.apply(manifests.probe("node1", name="six", network="lan6"))
    until(lambda: demo.pod_runs("six"), "the pod running")
    inside = demo.address_of_pod("six")
    until(lambda: answers(demo.lab, f"{NAMESPACE}/six", "fd31::1"), "the router answering the pod")
    outside = demo.lab.physical.outside
    netns.ip(outside, "address add fd31::99/64 dev vlan100 nodad")
    for address in (inside, "fd31::1"):
        ping = [*netns.prefix(outside), "ping", "-c", "3", "-W", "1", "-i", "0.3", address]
        subprocess.run(ping, capture_output=True, check=False)
    known = {one["dst"] for one in json.loads(netns.run("ip", "-json", "neigh", netns=outside)) if "lladdr" in one}
    assert inside in known
    assert "fd31::1" not in known

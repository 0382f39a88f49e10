"""A ProviderNetwork on real nodes, and pods on a VLAN of it: what machines outside have is never used twice."""

import json
from collections.abc import Iterator

import pytest

from tests.lab.labs import running
from virtnet.kube.kinds import EVENTS
from virtnet.lab import netns
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import Demo, until
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.demo.probes import answers

pytestmark = pytest.mark.lab

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


def test_an_address_of_a_machine_outside_is_not_used(demo: Demo) -> None:
    outside = demo.lab.physical.outside
    netns.ip(outside, f"address add {TAKEN}/24 dev vlan100")
    demo.apply(pod("node2", "late", TAKEN))

    def told() -> bool:
        events, _ = demo.lab.ask(lambda cluster: cluster.list(EVENTS, NAMESPACE))
        return any(
            f"{TAKEN} of port" in event["note"] and "used by a machine outside" in event["note"] for event in events
        )

    until(told, "an Event that names the conflict")
    assert not demo.pod_runs("late")
    netns.ip(outside, f"address delete {TAKEN}/24 dev vlan100")
    until(lambda: demo.pod_runs("late"), "running once the address is free")

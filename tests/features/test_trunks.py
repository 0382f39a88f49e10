"""What a node is told of trunks: those of the Ports that its pods have, and of no others."""

from collections.abc import Mapping
from typing import Any

from tests.topology.samples import port, underlay
from virtnet.api import NodeNetwork, Port
from virtnet.api.records import Attachment
from virtnet.engine.graph import Graph
from virtnet.features.node_network import report_node_network
from virtnet.features.node_parts import NODE_NETWORKS
from virtnet.features.sources import CLUSTER_SUBNETS, PODS, PORTS
from virtnet.features.workloads import Pod
from virtnet.handoff.facts import LauncherPod

TRUNKS: list[dict[str, Any]] = [
    {"vms": ["demo/vm11"], "vlans": [{"minID": 200, "maxID": 202}, {"id": 7}]},
    {"vlans": [{"id": 203}]},
]
VM11, VM12 = [{"first": 7, "last": 7}, {"first": 200, "last": 203}], [{"first": 203, "last": 203}]


class Scene:
    """A ClusterSubnet and Ports of it, and what a node is asked for."""

    def __init__(self) -> None:
        self.graph, self.known = Graph(), dict[str, Any]()

    def subnet(self, *trunks: Mapping[str, Any]) -> None:
        self.graph.put(CLUSTER_SUBNETS, CLUSTER_SUBNETS.key("lan"), underlay(vlanTrunks=[*trunks]))

    def port(self, number: int) -> Port:
        nic = port(underlay(), number)
        self.graph.put(PORTS, PORTS.key(nic.key), nic)
        return nic

    def pod(self, node: str, vm: str, nic: Port) -> None:
        attachment = Attachment(
            port=nic.key,
            network="net",
            nad="demo/net",
            subnet=nic.spec.subnet,
            mac=nic.spec.mac_address,
            addresses=("10.66.0.11/24",),
            mtu=1442,
        )
        key = f"demo/{vm}-{node}"
        self.graph.put(PODS, PODS.key(key), Pod(key, key, vm, LauncherPod(name=key, node=node), (attachment,)))

    def ended(self, node: str, vm: str) -> None:
        self.graph.put(PODS, PODS.key(f"demo/{vm}-{node}"), None)

    def asked(self, node: str) -> dict[str, Any] | None:
        """What is written into its NodeNetwork, which has it from then on."""
        key = NODE_NETWORKS.key(node)
        body = {"metadata": {"name": node}, "spec": {"trunks": self.known.get(node, {})}}
        self.graph.put(NODE_NETWORKS, key, NodeNetwork.parse(body))
        report = self.graph.peek(lambda reader: report_node_network(key, reader))
        assert report
        patch: dict[str, Any] | None = report.request.get("trunks")
        whole = self.known.get(node, {}) | (patch or {})
        self.known[node] = {port: vlans for port, vlans in whole.items() if vlans is not None}
        return patch


def test_a_node_hears_of_the_trunks_of_its_pods() -> None:
    """Of both nodes, while a guest migrates."""
    scene = Scene()
    scene.subnet(*TRUNKS)
    one, two = scene.port(11), scene.port(12)
    assert scene.asked("a") is None
    scene.pod("a", "vm11", one)
    scene.pod("b", "vm11", one)
    scene.pod("b", "vm12", two)
    assert scene.asked("a") == {one.key: VM11}
    assert scene.asked("b") == {one.key: VM11, two.key: VM12}
    scene.ended("a", "vm11")
    assert scene.asked("a") == {one.key: None}
    scene.subnet(TRUNKS[1])
    assert scene.asked("b") == {one.key: VM12}
    scene.subnet()
    assert scene.asked("b") == {one.key: None, two.key: None}
    assert scene.asked("b") is None


def test_a_pod_has_no_trunk_by_a_port_of_another_owner() -> None:
    scene = Scene()
    scene.subnet(*TRUNKS)
    scene.pod("a", "vm13", scene.port(11))
    assert scene.asked("a") is None

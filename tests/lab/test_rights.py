"""Each process of a lab has the rights of its service account, and no others."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.labs import leftovers
from virtnet.api import NodeNetwork, set_condition
from virtnet.kube.client import Cluster
from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import NADS, PODS, Kind
from virtnet.lab.lab import NODE_NETWORKS, Lab

system = pytest.mark.system


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One for all tests that only ask it."""
    lab = Lab("testrights")
    lab.down()
    lab.up(2)
    yield lab
    lab.down()
    assert leftovers("testrights") == []


@system
class TestRights:
    """What the processes' identities may, in a lab as on a cluster."""

    def test_a_node_writes_its_own_nodenetwork_alone(self, lab: Lab) -> None:
        async def patch(cluster: Cluster, node: str) -> str:
            found = await cluster.patch(NODE_NETWORKS, node, {"status": {"ports": 0}}, subresource="status")
            return str(found["metadata"]["name"])

        assert lab.ask(lambda cluster: patch(cluster, "node1"), identity="virtnet-node-node1") == "node1"
        with pytest.raises(Rejected, match="virtnet-node on node1 may write only its own NodeNetwork, not node2"):
            lab.ask(lambda cluster: patch(cluster, "node2"), identity="virtnet-node-node1")

    def test_a_node_takes_no_other_nodes_place_in_a_handoff(self, lab: Lab) -> None:
        """The secret of a handoff is of the two nodes' keys: neither is in the API, nor can one be exchanged."""

        async def published(cluster: Cluster, node: str) -> str:
            return NodeNetwork.parse(await cluster.get(NODE_NETWORKS, node)).status.handoff.public_key

        def of(node: str) -> str:
            return lab.ask(lambda cluster: published(cluster, node))

        assert len({"", of("node1"), of("node2")}) == 3, "both have published theirs"
        patch = {"status": {"handoff": {"publicKey": of("node1")}}}
        for identity, reason in (
            ("virtnet-node-node1", "may write only its own NodeNetwork"),
            ("virtnet-cli", "forbidden"),
            ("virtnet-webhook", "forbidden"),
            ("virtnet-controller", "may write only the conditions of a NodeNetwork"),
        ):
            with pytest.raises(Rejected, match=reason):
                lab.ask(
                    lambda cluster: cluster.patch(NODE_NETWORKS, "node2", patch, subresource="status"),
                    identity=identity,
                )

    @pytest.mark.parametrize("identity", ["virtnet-controller", "virtnet-webhook", "virtnet-cli", "virtnet-node-node1"])
    def test_nobody_reads_secrets(self, lab: Lab, identity: str) -> None:
        with pytest.raises(Rejected, match="forbidden"):
            lab.ask(lambda cluster: cluster.list(Kind("", "v1", "secrets")), identity=identity)

    def test_a_node_makes_no_nodenetwork_for_another(self, lab: Lab) -> None:
        body = {"apiVersion": "virtnet.dev/v1alpha1", "kind": "NodeNetwork", "metadata": {"name": "node9"}}
        with pytest.raises(Rejected, match="only its own"):
            lab.ask(lambda cluster: cluster.create(NODE_NETWORKS, body), identity="virtnet-node-node1")

    @pytest.mark.parametrize("identity", ["virtnet-webhook", "virtnet-cli", "virtnet-node-node1"])
    def test_only_the_controller_hands_over(self, lab: Lab, identity: str) -> None:
        patch = {"spec": {"handoffs": {"demo/db.blue": {"role": "Source", "releaseRequested": True}}}}
        with pytest.raises(Rejected, match="forbidden"):
            lab.ask(lambda cluster: cluster.patch(NODE_NETWORKS, "node1", patch), identity=identity)

    @pytest.mark.parametrize("status", [{"ports": 99}, {"ovnVersion": "0"}, {"chassis": None}], ids=str)
    def test_a_node_alone_says_what_it_is(self, lab: Lab, status: dict[str, Any]) -> None:
        with pytest.raises(Rejected, match="may write only the conditions of a NodeNetwork"):
            lab.ask(
                lambda cluster: cluster.patch(NODE_NETWORKS, "node1", {"status": status}, subresource="status"),
                identity="virtnet-controller",
            )

    def test_the_controller_says_what_a_node_cannot_know_of_itself(self, lab: Lab) -> None:
        node = NodeNetwork.parse(lab.ask(lambda cluster: cluster.get(NODE_NETWORKS, "node1")))
        conditions = set_condition(node.status.conditions, "ChassisConflict", status=False, reason="Unique", message="")
        patch = {"status": {"conditions": [one.model_dump(mode="json", by_alias=True) for one in conditions]}}
        lab.ask(
            lambda cluster: cluster.patch(NODE_NETWORKS, "node1", patch, subresource="status"),
            identity="virtnet-controller",
        )

    def test_networks_of_others_are_not_for_nodes(self, lab: Lab) -> None:
        with pytest.raises(Rejected, match="forbidden"):
            lab.ask(lambda cluster: cluster.list(NADS), identity="virtnet-node-node1")

    @pytest.mark.parametrize("identity", ["virtnet-webhook", "virtnet-node-node1"])
    def test_pods_of_all_namespaces_are_not_for_everybody(self, lab: Lab, identity: str) -> None:
        with pytest.raises(Rejected, match="forbidden"):
            lab.ask(lambda cluster: cluster.list(PODS), identity=identity)

"""What a node says of itself in its NodeNetwork."""

from collections.abc import Callable

import pytest

from tests.attach.rig import Node
from tests.attach.world import NODES, World
from tests.messages import NODES as NODE_TROUBLE
from virtnet.api import set_condition
from virtnet.api.node_network import CHASSIS_MISSING


async def test_the_node_says_what_it_has(world: World) -> None:
    status = (await world.own()).status
    assert (status.chassis, status.encap_ips, status.datapath) == ("chassis-x", ("127.0.0.1",), "netdev")
    assert [(one.type, one.status) for one in status.conditions] == [
        ("Ready", "True"),
        ("Tunnel", "True"),
        ("VhostUser", "False"),
    ]
    assert (status.conditions[2].reason, status.devices.dpdk.version) == ("NoDpdk", "")
    await world.add("source")
    await world.until(lambda own: own.status.ports == 1, "one NIC")
    assert world.node.cni("DEL", container="source") == (0, None)
    await world.until(lambda own: own.status.ports == 0, "none")


def stop_database(node: Node) -> None:
    node.daemons["ovsdb"].kill()
    (node.state / "db.sock").unlink()


HAVE_BRIDGE = ("--may-exist", "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
ROOT = ("Open_vSwitch", ".", "external_ids")
TROUBLE: dict[str, tuple[Callable[[Node], object], Callable[[Node], object]]] = {
    "no Open vSwitch": (stop_database, Node.start_database),
    "no integration bridge": (lambda node: node.vsctl("del-br", "br-int"), lambda node: node.vsctl(*HAVE_BRIDGE)),
    "an Open vSwitch that OVN has no name for": (
        lambda node: node.vsctl("remove", *ROOT, "system-id"),
        lambda node: node.vsctl("set", *ROOT[:2], "external_ids:system-id=chassis-x"),
    ),
}
"""What is done to a node, and undone."""


@pytest.mark.parametrize("given", TROUBLE)
async def test_the_node_says_what_is_wrong(world: World, given: str) -> None:
    begin, end = TROUBLE[given]
    begin(world.node)
    own = await world.until(lambda own: own.status.conditions[0].status == "False", "not ready")
    end(world.node)  # in this thread: what it starts ends with its thread
    row, condition = NODE_TROUBLE[given], own.status.conditions[0]
    assert (condition.reason, condition.message) == (row.reason, row.message)
    await world.until(lambda own: own.status.conditions[0].status == "True", "ready")


async def test_a_node_that_ovn_does_not_know_is_not_ready(world: World) -> None:
    """The controller tells it, for no node reads OVN's databases."""
    row = NODE_TROUBLE["an OVN that does not know the node"]

    async def tell(*, status: bool) -> None:
        conditions = set_condition(
            (await world.own()).status.conditions,
            CHASSIS_MISSING,
            status=status,
            reason=row.reason,
            message=row.message,
        )
        body = [one.model_dump(mode="json", by_alias=True) for one in conditions]
        await world.cluster.patch(NODES, world.node.name, {"status": {"conditions": body}}, subresource="status")

    await tell(status=True)
    own = await world.until(lambda own: own.status.conditions[0].status == "False", "not ready")
    assert (own.status.conditions[0].reason, own.status.conditions[0].message) == (row.reason, row.message)
    await tell(status=False)
    await world.until(lambda own: own.status.conditions[0].status == "True", "ready")


async def test_a_deleted_object_comes_back(world: World) -> None:
    before = await world.own()
    await world.cluster.delete(NODES, world.node.name)
    after = await world.until(lambda own: own.status.chassis, "made anew")
    assert after.metadata.uid != before.metadata.uid


async def test_the_node_answers_to_nic_policies(world: World) -> None:
    """Of this machine's own NICs, to which nothing is to be done."""
    drivers = sorted({one.driver for one in (await world.own()).status.devices.nics} - {""})
    if not drivers:
        pytest.skip("this machine has no NIC with a driver")

    def offload() -> str:
        return world.node.vsctl("--if-exists", "get", "Open_vSwitch", ".", "other_config:hw-offload").strip('"')

    asked = {"name": "fast", "generation": 3, "nics": {"drivers": drivers}, "vfs": 4000, "externallyManaged": True}
    await world.cluster.patch(NODES, world.node.name, {"spec": {"nicPolicies": [asked]}})
    own = await world.until(lambda own: "fast" in own.status.nic_policies, "it answers")
    told = own.status.nic_policies["fast"]
    assert told.generation == 3
    assert {nic.reason for nic in told.nics} == {"Differs"}
    offloading = {"name": "offload", "generation": 1, "hwOffload": True}
    await world.cluster.patch(NODES, world.node.name, {"spec": {"nicPolicies": [offloading]}})
    await world.until(lambda own: own.status.nic_policies.keys() == {"offload"}, "it answers to another")
    assert offload() == "true"
    world.node.restart_daemon(KUBECONFIG=world.kubeconfig)
    await world.cluster.patch(NODES, world.node.name, {"spec": {"nicPolicies": []}})
    await world.until(lambda own: not own.status.nic_policies, "there is nothing more to tell")
    assert offload() == ""

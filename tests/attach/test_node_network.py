"""What a node says of itself in its NodeNetwork."""

from collections.abc import Callable

import pytest

from tests.attach.rig import Node
from tests.attach.world import NODES, World
from tests.told import NODES as NODE_TROUBLE


async def test_the_node_says_what_it_has(world: World) -> None:
    status = (await world.own()).status
    assert (status.chassis, status.encap_ips, status.datapath) == ("chassis-x", ("127.0.0.1",), "netdev")
    assert [(one.type, one.status) for one in status.conditions] == [("Ready", "True"), ("Tunnel", "True")]
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
    row, told = NODE_TROUBLE[given], own.status.conditions[0]
    assert (told.reason, told.message) == (row.reason, row.message)
    await world.until(lambda own: own.status.conditions[0].status == "True", "ready")


async def test_a_deleted_object_comes_back(world: World) -> None:
    before = await world.own()
    await world.cluster.delete(NODES, world.node.name)
    after = await world.until(lambda own: own.status.chassis, "made anew")
    assert after.metadata.uid != before.metadata.uid

"""ICMPv6 within VLANs, of a guest on a real OVN and a real node: it leaves a NIC in those of its trunk alone.

OVN lets neighbour discovery and MLD pass before the ACLs that keep other frames to a trunk's tags.
"""

import asyncio

from tests.attach.conftest import node, node_of_module, real_ovn, world
from tests.attach.rig import SECONDS
from tests.attach.world import NODES, World
from tests.safety.hearing import attachment, heard_by
from tests.safety.spoken import ICMPV6, attacks, datagram, icmp, options, tagged, v6
from tests.safety.wire import arriving, names
from tests.topology.samples import NOWHERE, VPC, Range, port
from virtnet.api import ClusterSubnet
from virtnet.lab.ovn_central import OvnCentral
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.difference import difference

__all__ = ["node", "node_of_module", "real_ovn", "world"]

OTHERS = (0, 1, 199, 203, 204, 206, 4094)
TRUNK = [{"first": 200, "last": 202}, {"first": 205, "last": 205}]
SPEC = {
    "cidrs": ["10.10.0.0/24", "fd10::/64"],
    "vlanTrunks": [{"vlans": [{"minID": 200, "maxID": 202}, {"id": 205}]}],
}


class Scene:
    """A guest that sends, and one that has the same trunk, and hears."""

    def __init__(self, namespace: str) -> None:
        of = ClusterSubnet.parse({"metadata": {"name": "lan"}, "spec": SPEC})
        self.sender, self.victim = (
            nic.model_copy(update={"metadata": nic.metadata.model_copy(update={"namespace": namespace})})
            for nic in (port(of, 11, "db.blue"), port(of, 12, "victim.blue"))
        )
        self.rows = [*vpc_rows(VPC), *subnet_rows(of, Range.of(of))]
        for one in (self.sender, self.victim):
            self.rows += port_rows(one, of, NOWHERE)
        (address, _), (victims, victims6) = self.sender.spec.addresses, self.victim.spec.addresses
        mac, to = self.sender.spec.mac_address, self.victim.spec.mac_address
        self.last = datagram(mac, address, to, victims)
        self.said = {
            "neighbour solicitation": v6(mac, icmp(135), to=victims6, dst_mac=to, proto=ICMPV6, ttl=255),
            "router solicitation": v6(mac, icmp(133), to="ff02::2", proto=ICMPV6, ttl=255),
            "MLD report": v6(mac, options(ICMPV6, icmp(143)), proto=0, to="ff02::16", ttl=1),
        }
        self.as_router = {"router advertisement": attacks(mac, address, to, victims, victims6)["... to one"]}


def within(said: dict[str, bytes], *tags: int) -> dict[str, bytes]:
    return {f"{what} in {tag}": tagged(frame, tag) for tag in tags for what, frame in said.items()}


async def test_discovery_is_kept_to_a_trunks_vlans(world: World, real_ovn: OvnCentral) -> None:
    node = world.node
    scene = Scene(node.namespace)
    async with OvsdbNorthbound(real_ovn.remote("nb")) as northbound:
        await northbound.commit(difference(scene.rows, northbound.observed()))
    world.restart(OVN="real")
    sender = scene.sender
    sandbox = await world.add("c1", **attachment(sender))
    with heard_by(node, real_ovn, sandbox, scene.victim) as (one, two):

        async def heard(said: dict[str, bytes]) -> set[str]:
            return names(said, await asyncio.to_thread(arriving, one, two, said.values(), scene.last))

        async def told(spec: dict[str, object], *, passing: dict[str, bytes]) -> None:
            """What the controller says of the sender, and all of its frames that pass from then on."""
            await world.cluster.patch(NODES, node.name, {"spec": spec})
            async with asyncio.timeout(SECONDS):
                while await heard(every) != passing.keys():
                    pass

        every = within(scene.said | scene.as_router, 200, 201, 202, 205, *OTHERS)
        assert await heard(every) == set(), "nothing is known of its trunk"
        await told({"trunks": {sender.key: TRUNK}}, passing=within(scene.said, 200, 201, 202, 205))
        await told({"routers": [sender.key]}, passing=within(scene.said | scene.as_router, 200, 201, 202, 205))
        await told({"routers": [], "trunks": {sender.key: TRUNK[1:]}}, passing=within(scene.said, 205))
        node.daemon.kill()
        assert await heard(every) == within(scene.said, 205).keys(), "no virtnet process is there"
        world.restart(OVN="real")
        await told({"trunks": {sender.key: None}}, passing={})

"""Router advertisements of a guest on a real OVN and a real node: nobody hears them, whatever is restarted."""

import asyncio
import socket
import time

import pytest

from tests.attach.conftest import node, node_of_module, real_ovn, world
from tests.attach.rig import SECONDS, run
from tests.attach.world import NODES, World
from tests.safety.hearing import attachment, heard_by
from tests.safety.spoken import DISCOVERY, attacks, datagram, own
from tests.safety.wire import arriving, names
from tests.topology.samples import NOWHERE, VPC, Range, port, subnet
from virtnet.lab.ovn_central import OvnCentral
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.difference import difference

__all__ = ["node", "node_of_module", "real_ovn", "world"]

CIDRS = "10.10.0.0/24 fd10::/64"


class Scene:
    """A guest that sends, and one that hears."""

    def __init__(self, world: World) -> None:
        of = subnet("blue", CIDRS, namespace=world.node.namespace)
        self.sender, self.victim = port(of, 11, "db.blue"), port(of, 12, "victim.blue")
        self.rows = [*vpc_rows(VPC), *subnet_rows(of, Range.of(of))]
        for one in (self.sender, self.victim):
            self.rows += port_rows(one, of, NOWHERE)
        (address, self.address6), (victims, victims6) = self.sender.spec.addresses, self.victim.spec.addresses
        mac, to = self.sender.spec.mac_address, self.victim.spec.mac_address
        self.said = attacks(mac, address, to, victims, victims6)
        self.own = own(mac, address, self.address6, to, victims, victims6)
        self.last = datagram(mac, address, to, victims)

    def heard_until_it_works(self, one: socket.socket, two: socket.socket) -> set[bytes]:
        """All that arrives of attacks that never cease, until other frames have passed for a while."""
        heard: set[bytes] = set()
        end, passed = time.monotonic() + SECONDS, 0
        two.settimeout(0.02)
        while passed < 50:
            assert time.monotonic() < end, "nothing passes any more"
            for frame in (*self.said.values(), self.last):
                one.send(frame)
            try:
                while (frame := two.recv(2048)) != self.last:
                    heard.add(frame)
                passed += 1
            except TimeoutError:
                passed = 0
        two.settimeout(SECONDS)
        return heard


@pytest.fixture
async def scene(world: World, real_ovn: OvnCentral) -> Scene:
    found = Scene(world)
    async with OvsdbNorthbound(real_ovn.remote("nb")) as northbound:
        await northbound.commit(difference(found.rows, northbound.observed()))
    world.restart(OVN="real")  # in this thread: with the thread that has started it a daemon ends
    return found


async def test_no_guest_is_heard_as_a_router(world: World, real_ovn: OvnCentral, scene: Scene) -> None:
    node = world.node
    sandbox = await world.add("c1", **attachment(scene.sender))
    with heard_by(node, real_ovn, sandbox, scene.victim) as (one, two):
        works = asyncio.to_thread

        def heard() -> set[str]:
            return names(scene.said, arriving(one, two, scene.said.values(), scene.last))

        async def nothing_more() -> None:
            async with asyncio.timeout(SECONDS):
                while await works(heard):
                    pass

        assert await works(heard) == set()
        mine = await works(arriving, one, two, scene.own.values(), scene.last)
        assert names(scene.own, mine) == scene.own.keys()

        for daemon in ("ovn-controller", "vswitchd"):
            node.daemons[daemon].kill()
            node.daemons[daemon].start()
            if daemon == "vswitchd":
                run("ip", "-n", node.name, "link", "set", "p2", "addrgenmode", "none", "up")
            passed = names(scene.said, await works(scene.heard_until_it_works, one, two))
            if daemon == "vswitchd":  # which may have OVN's flows first
                assert passed <= DISCOVERY
                await nothing_more()
            else:
                assert passed == set(), f"{daemon} was started anew"

        world.restart(OVN="real")
        assert names(scene.said, await works(scene.heard_until_it_works, one, two)) == set()
        node.daemon.kill()
        assert await works(heard) == set(), "no virtnet process is there"
        world.restart(OVN="real")

        async def permitted(*ports: str) -> None:
            await world.cluster.patch(NODES, node.name, {"spec": {"routers": ports}})

        await permitted(scene.sender.key)
        async with asyncio.timeout(SECONDS):
            while not DISCOVERY & await works(heard):
                pass
        assert await works(heard) == DISCOVERY
        await permitted()
        await nothing_more()

"""A plugged-in NIC changes: it flaps, is renamed, or its MTU is another one."""

import asyncio
import socket
from functools import partial

import pytest

from tests.attach.datapath import in_userspace
from tests.attach.rig import inside
from tests.providers.rig import BRIDGE, NIC, SECOND, Machines, Session
from tests.providers.test_restarts import blue, plugged, speaks, until
from virtnet.lab import netns

pytestmark = pytest.mark.system

JUMBO = 9000


@pytest.mark.parametrize("where", ["outside", "node"])
async def test_a_link_that_flaps(world: Machines, where: str) -> None:
    """Its carrier goes, as a cable's that is drawn; or somebody sets it down and up."""
    name, device = (world.outside, f"o-{NIC}") if where == "outside" else (world.node.name, NIC)
    async with plugged(world) as networks:
        session, entries = Session(world), world.on(BRIDGE)["entries"]
        for _ in range(5):
            netns.ip(name, f"link set {device} down")
            await networks.reconcile()
            netns.ip(name, f"link set {device} up")
        turns = session.turns
        await until(lambda: session.turns > turns, "the session goes on")
        await asyncio.to_thread(session.end)
        await until(lambda: blue(networks).ready, "it is plugged in")
        assert world.on(BRIDGE)["entries"] == entries
        assert world.on(NIC) == {"entries": []}


async def test_a_nic_that_is_renamed(world: Machines) -> None:
    """Open vSwitch knows ports by name, so the bridge has lost it: the node goes on without the bridge."""
    before = world.whole
    async with plugged(world) as networks:
        world.ip(f"link set {NIC} down", f"link set {NIC} name eth7", "link set eth7 up")
        await until(lambda: blue(networks).reason == "NicMissing", "it is told of")
        await until(lambda: world.on("eth7")["entries"] == before["entries"], "all is on the NIC of the other name")
        assert world.bridges == ["br-int"]
        await speaks(world)
        networks.want({"blue": "eth7"})
        await until(lambda: blue(networks).ready, "plugged in by its new name")
        assert world.on(BRIDGE)["entries"] == before["entries"]
        await speaks(world)
        networks.want({})
        await until(lambda: world.bridges == ["br-int"], "unplugged")
    world.ip("link set eth7 down", f"link set eth7 name {NIC}", f"link set {NIC} up")
    assert world.on(NIC)["entries"]


@in_userspace
async def test_a_nic_that_is_renamed_before_its_switch_dies(world: Machines) -> None:
    before = world.whole
    async with plugged(world) as networks:
        world.node.daemons["ovsdb"].kill()
        await until(lambda: not networks.plugging.bridges.database.up, "the loss is noticed")
        world.ip(f"link set {NIC} down", f"link set {NIC} name eth7", "link set eth7 up")
        world.node.daemons["vswitchd"].kill()
        await until(lambda: world.on("eth7")["entries"] == before["entries"], "all is on the NIC of the other name")
        await speaks(world)


async def test_a_nic_that_has_its_name_back(world: Machines) -> None:
    before = world.whole
    async with plugged(world) as networks:
        world.ip(f"link set {NIC} down", f"link set {NIC} name eth7", "link set eth7 up")
        await until(lambda: world.on("eth7")["entries"] == before["entries"], "all is on the NIC of the other name")
        world.ip("link set eth7 down", f"link set eth7 name {NIC}", f"link set {NIC} up")
        # What is reported may still be from before the NIC was renamed.
        await until(
            lambda: BRIDGE in world.bridges and world.on(NIC) == {"entries": []} and blue(networks).ready,
            "plugged in again",
        )
        assert world.on(BRIDGE)["entries"]
        networks.want({})
        await until(lambda: world.bridges == ["br-int"], "unplugged")
    await speaks(world)


def set_mtu(world: Machines, mtu: int) -> None:
    for nic in (NIC, SECOND):
        netns.ip(world.outside, f"link set o-{nic} mtu {mtu}")
        world.ip(f"link set {nic} mtu {mtu}")


def passes(world: Machines, size: int) -> bool:
    """Whether a datagram of that size comes to the node and back in one piece each."""
    with (
        netns.inside(world.node.name, partial(_bound, ("10.7.0.5", 9))) as here,
        netns.inside(world.outside, partial(_bound, ("10.7.0.1", 9))) as outside,
    ):
        try:
            outside.sendto(bytes(size), ("10.7.0.5", 9))
            data, sender = here.recvfrom(1 << 16)
            here.sendto(data, sender)
            return len(outside.recv(1 << 16)) == size
        except (TimeoutError, OSError):
            return False


def _bound(address: tuple[str, int]) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.settimeout(0.5)
    found.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO: no fragments
    found.bind(address)
    return found


async def test_jumbo_frames(world: Machines) -> None:
    set_mtu(world, JUMBO)
    world.ip(f"route add 10.53.0.0/16 via 10.7.0.8 dev {NIC} mtu 8000")
    before = world.whole
    assert passes(world, 8900)
    async with world.networks() as networks:
        networks.want({"blue": NIC})
        await networks.reconcile()
        assert networks.statuses["blue"].mtu == JUMBO
        assert world.on(BRIDGE)["entries"] == before["entries"]
        assert passes(world, 8900)
        networks.want({})
        await networks.reconcile()
    assert passes(world, 8900)
    assert world.whole == before


@pytest.mark.parametrize(("first", "then"), [(1500, JUMBO), (JUMBO, 1500)])
async def test_a_mtu_that_changes_while_the_nic_is_plugged_in(world: Machines, first: int, then: int) -> None:
    set_mtu(world, first)
    before = world.whole
    async with plugged(world) as networks:
        set_mtu(world, then)
        await until(lambda: blue(networks).mtu == then, "it is told of")
        await until(lambda: inside(world.node.name, "link", "show", BRIDGE)[0]["mtu"] == then, "it is the bridge's")
        assert await asyncio.to_thread(passes, world, then - 100)
        assert world.on(BRIDGE)["entries"] == before["entries"]
        assert blue(networks).ready

"""Devices that stand for NICs, as people name them: the node talks through them before, meanwhile and after."""

import pytest

from tests.attach.datapath import in_kernel
from tests.attach.rig import eventually
from tests.providers.rig import BRIDGE, NIC, SECOND, Machines, Session
from virtnet.lab import netns

pytestmark = [pytest.mark.system, in_kernel]

OWN, OTHER = "10.8.0.5", "10.8.0.1"


def one_switch_outside(world: Machines) -> None:
    """Both NICs are in it, and the machine outside has an address there."""
    netns.ip(
        world.outside,
        "link add switch type bridge",
        *(f"link set o-{nic} master switch" for nic in (NIC, SECOND)),
        f"address add {OTHER}/24 dev switch",
        "link set switch up",
    )


def vlan_on_both_ends(world: Machines) -> None:
    for name, link, address in ((world.outside, f"o-{NIC}", OTHER), (world.node.name, NIC, OWN)):
        netns.ip(name, f"link add v7 link {link} type vlan id 7", f"address add {address}/24 dev v7", "link set v7 up")


async def test_a_bond_whose_link_fails_while_it_is_plugged_in(world: Machines) -> None:
    one_switch_outside(world)
    world.ip("link add bond0 type bond mode active-backup miimon 20", "link set bond0 addrgenmode none")
    for nic in (NIC, SECOND):
        world.ip(f"link set {nic} down", f"link set {nic} master bond0")
    world.ip(f"address add {OWN}/24 dev bond0", "link set bond0 up")
    before = world.on("bond0")
    session = Session(world, OWN)
    async with world.networks() as networks:
        networks.want({"blue": "bond0"})
        await networks.reconcile()
        status = networks.statuses["blue"]
        assert (status.nic, status.reason) == ("bond0", "Plugged")
        assert world.on(BRIDGE) == before
        active = active_of(world)
        netns.ip(world.outside, f"link set o-{active} down")
        eventually(lambda: active_of(world) not in {active, ""}, "the other NIC has taken over")
        turns = session.turns
        eventually(lambda: session.turns > turns, "the session goes on")
        networks.want({"green": NIC})
        await networks.reconcile()
        assert networks.statuses["green"].reason == "NicInUse"
    session.end()
    assert world.on("bond0") == before


def active_of(world: Machines) -> str:
    """Of the two NICs, the one that carries the bond's traffic."""
    bonding = netns.run("cat", "/proc/net/bonding/bond0", netns=world.node.name)
    return bonding.partition("Currently Active Slave: ")[2].split()[0].removesuffix("None")


async def test_a_vlan_interface_is_a_nic_of_its_own(world: Machines) -> None:
    vlan_on_both_ends(world)
    before = world.on("v7")
    session, below = Session(world, OWN), Session(world)
    async with world.networks() as networks:
        networks.want({"blue": "v7", "green": NIC})
        await networks.reconcile()
        found = {name: (status.ready, status.reason) for name, status in networks.statuses.items()}
        assert found == {"blue": (True, "Plugged"), "green": (False, "NicInUse")}
        assert world.on(BRIDGE) == before
        networks.want({})
        await networks.reconcile()
    session.end()
    below.end()
    assert world.on("v7") == before


async def test_a_vlan_interface_that_comes_upon_a_plugged_in_nic_keeps_its_traffic(world: Machines) -> None:
    async with world.networks() as networks:
        networks.want({"blue": NIC})
        await networks.reconcile()
        vlan_on_both_ends(world)
        await networks.reconcile()
        Session(world, OWN).end()
        Session(world).end()

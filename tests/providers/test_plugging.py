"""A NIC is plugged in and out again, and the node itself never loses its connections."""

import asyncio
import sys

import pytest

from tests.attach.datapath import in_userspace
from tests.providers.rig import BRIDGE, NIC, SECOND, Machines, Questions, Session
from virtnet.lab import netns

pytestmark = pytest.mark.system


async def test_what_the_node_has_moves_to_the_bridge_and_back(world: Machines) -> None:
    before = world.whole
    async with world.networks() as networks:
        session, other = Session(world), Session(world, "fd07::5")
        networks.want({"blue": NIC})
        await networks.reconcile()
        status = networks.statuses["blue"]
        assert (status.ready, status.reason, status.message, status.bridge) == (True, "Plugged", "", BRIDGE)
        assert world.on(BRIDGE) == {"entries": before["entries"]}
        assert world.on(NIC) == {"entries": []}
        assert world.mapping("ovn-bridge-mappings") == "blue:br-blue"
        turns = session.turns
        networks.want({})
        await networks.reconcile()
        assert networks.statuses == {}
        session.end()
        other.end()
    assert session.turns > turns > 0
    assert world.whole == before
    assert world.bridges == ["br-int"]
    assert world.mapping("ovn-bridge-mappings") == ""
    assert not list(world.records.iterdir())


@in_userspace
@pytest.mark.parametrize("address", ["10.7.0.5", "fd07::5"])
async def test_no_frame_is_lost_while_the_nic_changes_hands(world: Machines, address: str) -> None:
    """One that is lost costs a TCP session 200 ms, the shortest time after which a sender tries again."""
    questions = Questions(world, address)
    async with world.networks() as networks:
        for wanted in ({"blue": NIC}, {}) * 3:
            sent = questions.sent
            networks.want(wanted)
            await networks.reconcile()
            assert questions.sent > sent
    assert questions.end() == 0


async def test_the_bridge_has_what_was_set_for_the_nic(world: Machines) -> None:
    """Where links have no IPv6 in general, a bridge without the NIC's settings could not take its addresses."""
    own = {"ipv6/conf/eth1/accept_ra": "2", "ipv4/conf/eth1/rp_filter": "1", "ipv6/conf/default/disable_ipv6": "1"}
    for path, value in own.items():
        world.sysctl(path, value)
    before = world.on(NIC)
    async with world.networks() as networks:
        networks.want({"blue": NIC})
        await networks.reconcile()
        assert networks.statuses["blue"].reason == "Plugged"
        assert world.on(BRIDGE) == before
        assert world.sysctl("ipv6/conf/br-blue/accept_ra") == "2"
        assert world.sysctl("ipv4/conf/br-blue/rp_filter") == "1"
        await asyncio.to_thread(Session(world, "fd07::5").end)


def test_settings_are_written_where_proc_is_read_only(world: Machines) -> None:
    """As in a container that is not privileged."""
    world.sysctl(f"ipv4/conf/{NIC}/rp_filter", "1")
    read_only = "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys"
    work = f"from virtnet.node.sysctl import copy; copy('{NIC}', '{SECOND}')"
    netns.run("unshare", "--mount", "sh", "-c", f'{read_only} && {sys.executable} -c "{work}"', netns=world.node.name)
    assert world.sysctl(f"ipv4/conf/{SECOND}/rp_filter") == "1"

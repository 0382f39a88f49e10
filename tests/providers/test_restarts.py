"""The switch, its database or the node starts anew, or the NIC vanishes: the node's own connections come back."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.attach.datapath import in_kernel, in_userspace
from tests.attach.rig import SECONDS
from tests.providers.rig import BRIDGE, NIC, Machines, Session
from virtnet.api import NodeProviderNetwork
from virtnet.node.providers.fallback import fall_back
from virtnet.node.providers.ingress import IngressFilters
from virtnet.node.providers.reconciler import ProviderNetworkReconciler
from virtnet.node.providers.records import Records
from virtnet.node.providers.watch import Watch

pytestmark = pytest.mark.system


async def until(holds: Callable[[], object], what: str) -> None:
    """The daemon's part works in this loop, and its steps must go on meanwhile."""
    end = time.monotonic() + SECONDS
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < end, f"{what}: not within {SECONDS:g} s"
        await asyncio.sleep(0.02)


async def speaks(world: Machines) -> None:
    """A machine outside can begin a session with the node."""
    session = await asyncio.to_thread(Session, world)
    await asyncio.to_thread(session.end)


@asynccontextmanager
async def plugged(world: Machines) -> AsyncIterator[ProviderNetworkReconciler]:
    """The daemon's part at work, with the NIC plugged in."""
    async with world.networks() as networks:
        work = asyncio.create_task(Watch(networks).run())
        networks.want({"blue": NIC})
        try:
            await until(lambda: blue(networks).ready, "plugged in")
            yield networks
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work


def blue(networks: ProviderNetworkReconciler) -> NodeProviderNetwork:
    return networks.statuses.get("blue", NodeProviderNetwork())


def carrier(networks: ProviderNetworkReconciler) -> int:
    """The index of the bridge that has the node's configuration; 0 while the NIC has it."""
    record = networks.plugging.records.get("blue")
    return record.bridge_index if record else 0


@in_userspace
async def test_a_switch_that_is_killed_and_started_again(world: Machines) -> None:
    before = world.whole
    async with plugged(world) as networks:
        session, other = Session(world), Session(world, "fd07::5")
        world.node.daemons["vswitchd"].kill()
        await until(lambda: world.on(NIC)["entries"] == before["entries"], "all is on the NIC again")
        await until(lambda: blue(networks).reason == "BridgeFailed", "it is told of")
        turns = session.turns
        await until(lambda: session.turns > turns, "the session goes on without a switch")
        world.node.daemons["vswitchd"].start()
        await until(lambda: blue(networks).ready, "plugged in again")
        assert world.on(BRIDGE)["entries"] == before["entries"]
        assert world.on(NIC) == {"entries": []}
        turns = session.turns
        await until(lambda: session.turns > turns, "the session goes on over the bridge")
        await asyncio.to_thread(session.end)
        await asyncio.to_thread(other.end)
        networks.want({})
        await until(lambda: world.bridges == ["br-int"], "unplugged")
    assert world.whole == before


@in_kernel
async def test_a_switch_in_the_kernel_goes_on_while_its_process_is_away(world: Machines) -> None:
    async with plugged(world) as networks:
        session, entries = Session(world), world.on(BRIDGE)["entries"]
        world.node.daemons["vswitchd"].kill()
        networks.look.set()
        await until(lambda: blue(networks).reason == "BridgeFailed", "it is told of")
        turns = session.turns
        await until(lambda: session.turns > turns, "the session goes on without the process")
        world.node.daemons["vswitchd"].start()
        await until(lambda: blue(networks).ready, "the process is there again")
        assert world.on(BRIDGE)["entries"] == entries
        turns = session.turns
        await until(lambda: session.turns > turns, "the session goes on")
        await asyncio.to_thread(session.end)
        await speaks(world)


@in_userspace
async def test_a_database_that_is_killed_and_started_again_with_its_switch(world: Machines) -> None:
    before = world.whole
    async with plugged(world) as networks:
        session = Session(world)
        for name in ("ovsdb", "vswitchd"):
            world.node.daemons[name].kill()
        await until(
            lambda: world.on(NIC)["entries"] == before["entries"], "all is on the NIC again, without a database"
        )
        turns = session.turns
        await until(lambda: session.turns > turns, "the session goes on without a switch")
        world.node.daemons["ovsdb"].start()
        world.node.daemons["vswitchd"].start()
        await until(lambda: world.on(BRIDGE)["entries"] == before["entries"], "all is on the bridge again")
        await until(lambda: blue(networks).ready, "plugged in again")
        turns = session.turns
        await until(lambda: session.turns > turns, "the session goes on over the bridge")
        await asyncio.to_thread(session.end)


async def test_a_database_that_starts_again_disturbs_nothing(world: Machines) -> None:
    async with plugged(world) as networks:
        entries = world.on(BRIDGE)["entries"]
        session = Session(world)
        world.node.daemons["ovsdb"].kill()
        await until(lambda: not networks.plugging.bridges.database.up, "the loss is noticed")
        world.node.daemons["ovsdb"].start()
        await until(lambda: networks.plugging.bridges.database.up, "connected again")
        networks.want({"blue": NIC, "green": "eth9"})
        await until(lambda: "green" in networks.statuses, "work goes on")
        assert blue(networks).ready
        assert world.on(BRIDGE)["entries"] == entries
        await asyncio.to_thread(session.end)


async def test_a_bridge_that_somebody_sets_down_or_deletes(world: Machines) -> None:
    before = world.on(NIC)["entries"]
    async with plugged(world) as networks:
        session = Session(world)
        world.ip(f"link set {BRIDGE} down")
        await until(lambda: world.on(BRIDGE)["entries"] == before, "all is on it again")
        earlier = {0, carrier(networks)}
        world.node.vsctl("del-br", BRIDGE)
        await until(lambda: carrier(networks) not in earlier, "it is made anew")
        await until(lambda: world.on(BRIDGE)["entries"] == before, "all is on the new one")
        turns = session.turns
        await until(lambda: session.turns > turns, "the session goes on")
        await asyncio.to_thread(session.end)


async def test_a_nic_that_vanishes_and_comes_back(world: Machines) -> None:
    before = world.on(NIC)
    async with plugged(world) as networks:
        world.unwire()
        await until(lambda: blue(networks).reason == "NicMissing", "it is told of")
        assert world.on(BRIDGE)["entries"] == before["entries"]
        world.wire()
        await until(lambda: blue(networks).ready, "plugged in again")
        assert world.on(BRIDGE)["entries"] == before["entries"]
        await speaks(world)


@in_userspace
async def test_a_daemon_that_starts_without_a_switch(world: Machines) -> None:
    before = world.whole
    async with plugged(world):
        pass
    for name in ("ovsdb", "vswitchd"):
        world.node.daemons[name].kill()
    records = Records(world.records)
    await fall_back(records, IngressFilters(world.here))
    records.close()
    assert world.on(NIC)["entries"] == before["entries"]
    await speaks(world)


@pytest.mark.parametrize(
    ("configured", "port_kept"),
    [
        pytest.param(True, True, id="configured at once"),
        pytest.param(False, True, id="configured later"),
        pytest.param(True, False, id="transient ports deleted"),
    ],
)
async def test_a_node_that_starts_anew(world: Machines, *, configured: bool, port_kept: bool) -> None:
    """Journal and database say plugged in; the NIC has what the operating system gives it."""
    before = world.on(NIC)["entries"]
    async with plugged(world):
        pass
    world.start_anew(configured=configured)
    if not port_kept:  # as ovs-ctl does with --delete-transient-ports
        transient = world.node.vsctl("--bare", "--columns=name", "find", "Port", "other_config:transient=true")
        assert transient == NIC
        world.node.vsctl("del-port", transient)
    async with plugged(world) as networks:
        if not configured:
            world.configure()
        await until(lambda: world.on(BRIDGE)["entries"] == before, "what the NIC was given is on the bridge")
        assert world.on(NIC) == {"entries": []}
        await speaks(world)
        networks.want({})
        await until(lambda: world.bridges == ["br-int"], "unplugged")
    assert world.on(NIC)["entries"] == before

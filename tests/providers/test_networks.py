"""Wrong, missing and busy NICs; and a daemon that is killed while its guard looks on."""

import os
import signal
import subprocess
import sys
from typing import IO

import pytest

from tests.attach.rig import REPOSITORY, eventually, inside
from tests.providers.rig import BRIDGE, NIC, SECOND, Machines, Session
from virtnet.node.providers.reconciler import ProviderNetworkReconciler

pytestmark = pytest.mark.system


async def test_a_wrong_nic_is_told_of_and_corrected(world: Machines) -> None:
    before = world.whole
    async with world.networks() as networks:
        networks.want({"blue": "eth9"})
        await networks.reconcile()
        assert networks.statuses["blue"].reason == "NicMissing"
        assert world.whole == before
        networks.want({"blue": SECOND})
        await networks.reconcile()
        assert (networks.statuses["blue"].nic, networks.statuses["blue"].ready) == (SECOND, True)
        networks.want({"blue": "eth9"})
        await networks.reconcile()
        status = networks.statuses["blue"]
        assert (status.nic, status.ready, status.reason) == (SECOND, False, "NicMissing")
        assert f"{SECOND} stays plugged in" in status.message
        networks.want({"blue": NIC})
        await networks.reconcile()
        assert (networks.statuses["blue"].nic, networks.statuses["blue"].ready) == (NIC, True)
        assert world.on(BRIDGE)["entries"] == before["entries"]
        networks.want({})
        await networks.reconcile()
    assert world.whole == before


async def test_what_cannot_be_plugged_in_is_left_alone(world: Machines) -> None:
    world.ip(f"link add mv0 link {SECOND} type macvlan mode bridge")
    world.node.vsctl("--may-exist", "add-port", "br-int", NIC)
    before = world.on(NIC)
    async with world.networks() as networks:
        networks.want({"a": "lo", "b": SECOND, "c": NIC})
        await networks.reconcile()
        assert {name: status.reason for name, status in networks.statuses.items()} == {
            "a": "NicUnsuitable",
            "b": "NicInUse",
            "c": "NicInUse",
        }
        assert "mv0" in networks.statuses["b"].message
        assert "br-int" in networks.statuses["c"].message
    assert world.on(NIC) == before
    assert world.bridges == ["br-int"]


async def test_members_of_others_are_refused_and_those_others_taken(world: Machines) -> None:
    world.ip("link add br0 type bridge", f"link set {SECOND} master br0", "link set br0 up")
    world.ip("address add 10.8.0.5/24 dev br0", "tuntap add tap0 mode tap", f"link add mv0 link {NIC} type macvlan")
    async with world.networks() as networks:
        networks.want({"a": SECOND, "b": "tap0", "c": "mv0", "d": "br0"})
        await networks.reconcile()
        assert {name: status.reason for name, status in networks.statuses.items()} == {
            "a": "NicInUse",
            "b": "NicUnsuitable",
            "c": "NicUnsuitable",
            "d": "Plugged",
        }
        assert any("10.8.0.5" in entry for entry in world.on("br-d")["entries"])
        networks.want({})
        await networks.reconcile()
    assert any("10.8.0.5" in entry for entry in world.on("br0")["entries"])


async def test_what_is_put_upon_a_plugged_in_nic_is_heard(world: Machines) -> None:
    async with world.networks() as networks:
        networks.want({"blue": NIC})
        await networks.reconcile()
        world.ip(
            f"link add mv0 link {NIC} type macvlan mode bridge", "address add 10.7.0.60/24 dev mv0", "link set mv0 up"
        )
        await networks.reconcile()
        assert networks.statuses["blue"].ready
        Session(world, "10.7.0.60").end()
        eventually(
            lambda: inside(world.node.name, "-s", "link", "show", "mv0")[0]["stats64"]["rx"]["packets"],
            "the macvlan has received what was broadcast, which the kernel gives it later, in a work queue",
        )
        Session(world).end()


async def test_what_the_os_puts_onto_the_nic_is_moved_too(world: Machines) -> None:
    async with world.networks() as networks:
        networks.want({"blue": NIC})
        await networks.reconcile()
        world.ip(f"address add 10.7.0.44/24 dev {NIC}")
        await networks.reconcile()
        assert world.on(NIC) == {"entries": []}
        assert any("10.7.0.44" in entry for entry in world.on(BRIDGE)["entries"])


async def test_a_gateway_that_is_silent_is_not_cut_off(world: Machines) -> None:
    world.ip(f"route add default via 10.7.0.200 dev {NIC} metric 10")
    before = world.whole
    async with world.networks() as networks:
        networks.want({"blue": NIC})
        await networks.reconcile()
        assert networks.statuses["blue"].reason == "GatewaySilent"
        assert "10.7.0.200" in networks.statuses["blue"].message
    assert world.whole == before


def guard_of(daemon: IO[bytes] | int, *words: str) -> "subprocess.Popen[bytes]":
    """What its daemon says, and when that has ended, it reads."""
    command = [sys.executable, "-m", "virtnet.node.providers.guard", *words]
    return subprocess.Popen(command, stdin=daemon, cwd=REPOSITORY)


def guard_of_a_killed_daemon(*words: str) -> None:
    """Runs until the guard has ended."""
    daemon = subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE)
    assert daemon.stdout is not None
    guard = guard_of(daemon.stdout, *words)
    daemon.stdout.close()
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.wait()
    assert guard.wait(timeout=30) == 0


async def stopped_while(networks: ProviderNetworkReconciler, state: str) -> None:
    """The NIC is plugged in, and the journal has it in the middle of that or of the opposite."""
    networks.want({"blue": NIC})
    await networks.reconcile()
    record = networks.plugging.records.get("blue")
    assert record is not None
    await networks.plugging.records.write(record.model_copy(update={"state": state}))


@pytest.mark.parametrize("state", ["Plugging", "Unplugging"])
async def test_the_guard_takes_back_what_a_dead_daemon_has_left(world: Machines, state: str) -> None:
    before = world.whole
    words = (str(world.records), world.node.ovsdb, "br-int", world.here)
    async with world.networks() as networks:
        await stopped_while(networks, state)
        session = Session(world)
    guard_of_a_killed_daemon(*words)
    eventually(lambda: world.bridges == ["br-int"], "the bridge is gone")
    session.end()
    assert world.whole == before


async def test_the_guard_waits_for_a_daemon_that_is_told_to_end(world: Machines) -> None:
    """It ends in the middle, and has the lock until it has closed all else."""
    before = world.whole
    words = (str(world.records), world.node.ovsdb, "br-int", world.here)
    async with world.networks() as networks:
        await stopped_while(networks, "Plugging")
        guard = guard_of(subprocess.DEVNULL, *words)
        with pytest.raises(subprocess.TimeoutExpired):
            guard.wait(timeout=3)
    assert guard.wait(timeout=30) == 0
    assert world.bridges == ["br-int"]
    assert world.whole == before

"""A handoff through the real controller, northd and API server; the test plays KubeVirt and the two chassis.

In every state the controller is killed and started again, and goes on as if nothing had been.
"""

import pytest

from tests.controllers.conftest import World, until
from tests.controllers.migrating import NODES, READY, Disturb, Migration, kill, northd, nothing, southbound

pytestmark = pytest.mark.system


@pytest.fixture
async def migration(world: World) -> Migration:
    return await Migration.of_running_vm(world)


@pytest.mark.parametrize("disturb", [nothing, kill, northd, southbound], ids=lambda d: d.__name__)
async def test_the_whole_way(migration: Migration, disturb: Disturb) -> None:
    world = migration.world
    await migration.migrate()
    await migration.requested("ch1,ch2")
    assert world.option("db.blue", "activation-strategy") == "rarp"
    disturb(world)
    migration.bind("ch1", "ch2")
    disturb(world)
    migration.bind("ch1", "ch2", activated="ch2")
    await migration.state(targetNodeDomainReadyTimestamp=READY)

    async def release_requested() -> bool:
        return (await migration.assignment("node1")).get("releaseRequested") is True

    await until(release_requested, "the source asked to let go")
    disturb(world)
    await migration.report("node2", probedAt=READY, answeredAt=READY)
    migration.bind("", "ch2", activated="ch2")
    await migration.requested("ch2")
    disturb(world)
    migration.bind("ch2")
    await migration.over("ch2", "Committed")
    record = await migration.record()
    assert (record.source, record.target, record.migration) == ("node1", "node2", migration.uid)
    assert record.armed_at <= record.domain_ready_at <= record.finished_at
    assert (record.fallback_reason, record.strategy) == ("node2 does not say that it can", "rarp")
    assert "GuestUnverified" not in await migration.events()


async def test_a_target_with_a_gate_needs_no_strategy(migration: Migration) -> None:
    world = migration.world
    await world.cluster.patch(NODES, "node2", {"status": {"handoff": {"gate": True}}}, subresource="status")
    try:
        await migration.migrate()
        await migration.requested("ch1,ch2")
        assert world.option("db.blue", "activation-strategy") == ""
        migration.bind("ch1", "ch2")
        await migration.report("node2", gateOpenedAt=READY)

        async def seen() -> bool:
            record = await migration.record()
            return record is not None and record.activated_at is not None

        await until(seen, "the guest that opened its gate")
        assert not (await migration.assignment("node2"))["guestRunning"]
        await migration.state(targetNodeDomainReadyTimestamp=READY)

        async def guest_running() -> bool:
            return bool((await migration.assignment("node2")).get("guestRunning"))

        await until(guest_running, "the target told to hold nothing back")
        migration.bind("", "ch2")
        await migration.requested("ch2")
        migration.bind("ch2")
        await migration.report("node2", probedAt=READY, answeredAt=READY)
        await migration.report("node1", forwardedFrames=14)
        await migration.over("ch2", "Committed")
        record = await migration.record()
        assert (record.fallback_reason, record.strategy, record.forwarded_frames) == ("", "", 14)
        assert "14 frames forwarded" in record.message
    finally:
        await world.cluster.patch(NODES, "node2", {"status": {"handoff": None}}, subresource="status")


async def test_a_nic_without_a_link_goes_by_the_word_of_kubevirt_alone(world: World) -> None:
    migration = await Migration.of_running_vm(world, nic="vhostuser")
    await migration.migrate()
    await migration.requested("ch1,ch2")
    assert world.option("db.blue", "activation-strategy") == "", "node2 has no gate"
    migration.bind("ch1", "ch2")
    await migration.state(targetNodeDomainReadyTimestamp=READY)
    migration.bind("", "ch2")
    await migration.requested("ch2")
    migration.bind("ch2")
    await migration.over("ch2", "Committed")
    record = await migration.record()
    assert (record.fallback_reason, record.strategy) == ("", "")
    assert "was not probed" in record.message
    assert "GuestUnverified" not in await migration.events()


async def test_the_nodes_are_told_of_each_other_and_nothing_secret(migration: Migration) -> None:
    """Whoever may read NodeNetworks sees what each node has published itself."""
    world, keys = migration.world, {"node1": "A" * 43 + "=", "node2": "B" * 43 + "="}
    tunnels = {"node1": "172.31.1.1", "node2": "172.31.1.2"}
    for node, key in keys.items():
        status = {"encapIps": [tunnels[node]], "handoff": {"gate": True, "publicKey": key}}
        await world.cluster.patch(NODES, node, {"status": status}, subresource="status")
    try:
        await migration.migrate()
        await migration.requested("ch1,ch2")

        async def armed() -> bool:
            return bool(
                (await migration.assignment("node1")).get("path") and (await migration.assignment("node2")).get("path")
            )

        await until(armed, "both nodes told of each other")
        for node, other in (("node1", "node2"), ("node2", "node1")):
            path = (await migration.assignment(node))["path"]
            assert path.keys() == {"remote", "datapath", "port", "peerKey"}
            assert (path["remote"], path["peerKey"]) == (tunnels[other], keys[other])
    finally:
        for node in keys:
            gone = {"status": {"encapIps": None, "handoff": None}}
            await world.cluster.patch(NODES, node, gone, subresource="status")


async def test_a_target_without_a_gate_gets_the_strongest_strategy_of_its_ovn(migration: Migration) -> None:
    world = migration.world
    await world.cluster.patch(NODES, "node2", {"status": {"ovnVersion": "25.09.1"}}, subresource="status")
    try:
        await migration.migrate()
        await migration.requested("ch1,ch2")
        assert world.option("db.blue", "activation-strategy") == "rarp,garp,na"
    finally:
        await world.cluster.patch(NODES, "node2", {"status": {"ovnVersion": None}}, subresource="status")


async def test_a_source_that_is_dead_is_not_waited_for_for_ever(migration: Migration) -> None:
    await migration.migrate()
    await migration.requested("ch1,ch2")
    migration.bind("ch1", "ch2", activated="ch2")
    await migration.state(targetNodeDomainReadyTimestamp=READY)
    await migration.requested("ch2")
    migration.bind("ch2")
    await migration.over("ch2", "Committed")
    assert "no node has verified that the guest" in (await migration.record()).message, "nor is its target's node"
    assert "GuestUnverified" in await migration.events()

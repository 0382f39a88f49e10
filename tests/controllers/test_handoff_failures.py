"""Migrations that fail, and what becomes of a handoff when others fail in it."""

from typing import Any

import pytest

from tests.controllers.conftest import World, until
from tests.controllers.migrating import NODES, Disturb, Migration, kill, nothing
from virtnet.kube import kinds
from virtnet.kube.kinds import PODS, VMIMS, VMIS

pytestmark = pytest.mark.system


@pytest.fixture
async def migration(world: World) -> Migration:
    return await Migration.of_running_vm(world)


async def failed(migration: Migration) -> None:
    await migration.state(failed=True, completed=True)


async def target_gone(migration: Migration) -> None:
    await migration.world.cluster.delete(PODS, "target", migration.world.namespace)
    pod = await migration.world.cluster.get(PODS, "target", migration.world.namespace)
    patch = {"metadata": {"resourceVersion": pod["metadata"]["resourceVersion"]}, "status": {"phase": "Failed"}}
    await migration.world.cluster.patch(PODS, "target", patch, migration.world.namespace, subresource="status")


async def vmim_failed(migration: Migration) -> None:
    status = {"status": {"phase": "Failed"}}
    await migration.world.cluster.patch(VMIMS, "m", status, migration.world.namespace, subresource="status")


@pytest.mark.parametrize("fail", [failed, target_gone, vmim_failed], ids=lambda f: f.__name__)
@pytest.mark.parametrize("disturb", [nothing, kill], ids=lambda d: d.__name__)
async def test_a_migration_that_fails_leaves_the_port_where_it_was(
    migration: Migration, fail: Any, disturb: Disturb
) -> None:
    await migration.migrate()
    await migration.requested("ch1,ch2")
    migration.bind("ch1", "ch2")
    await fail(migration)
    await migration.requested("ch1")
    disturb(migration.world)
    migration.bind("ch1")
    await migration.over("ch1", "RolledBack")


async def test_what_a_deposed_leader_asks_of_a_node_is_taken_back(migration: Migration) -> None:
    async def taken_back() -> bool:
        return not await migration.assignment("node2")

    for uid in ("m1", "m2"):  # by the second time the controller has nothing else to look at this port for
        patch = {"spec": {"handoffs": {migration.port: {"migration": uid, "role": "Target"}}}}
        await migration.world.cluster.patch(NODES, "node2", patch)
        await until(taken_back, "the node asked for nothing")


async def test_a_northbound_database_deleted_in_the_middle_comes_back_armed(migration: Migration) -> None:
    await migration.migrate()
    await migration.requested("ch1,ch2")
    migration.world.ovn.kill("nb")
    migration.world.ovn.erase("nb")
    migration.world.ovn.start("nb")
    migration.world.ovn.sbctl("--timeout=5", "wait-until", "Port_Binding", migration.port)
    migration.bind("ch1")
    await migration.requested("ch1,ch2")


async def test_a_deleted_vm_takes_its_handoff_along(migration: Migration) -> None:
    world = migration.world
    await migration.migrate()
    await migration.requested("ch1,ch2")
    for kind, name in ((VMIS, "db"), (kinds.VMS, "db")):
        await world.cluster.delete(kind, name, world.namespace)
    for name in ("source", "target"):
        status = {"status": {"phase": "Succeeded"}}
        await world.cluster.patch(PODS, name, status, world.namespace, subresource="status")

    async def gone() -> bool:
        return world.lsps() == {} and await world.leases() == {} and not await migration.assignment("node1")

    await until(gone, "nothing left of the VM and its handoff")

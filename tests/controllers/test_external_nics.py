"""A guest with a virtual function migrates: nothing changes in OVN, and the node that it comes to is told."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.controllers.conftest import World, until
from tests.controllers.migrating import READY, Migration
from virtnet.api import ClusterSubnet, ProviderNetwork
from virtnet.api.references import SubnetRef
from virtnet.kube import kinds
from virtnet.kube.kinds import VMIMS

pytestmark = pytest.mark.system

COLUMNS = ("type", "options", "ha_chassis_group", "addresses")
CLUSTER_SUBNETS, PROVIDER_NETWORKS = kinds.of(ClusterSubnet), kinds.of(ProviderNetwork)


@dataclass(frozen=True)
class OnRack(World):
    """With NICs on a physical network."""

    @property
    def blue(self) -> SubnetRef:
        return SubnetRef(kind="ClusterSubnet", name=self.namespace)

    async def subnet(self, **spec: object) -> None:
        api = {"apiVersion": "virtnet.dev/v1alpha1", "metadata": {"name": self.namespace}}
        network = {
            **api,
            "kind": "ProviderNetwork",
            "spec": {"defaultNic": "vfs0", "nodeSelector": {"site": self.namespace}},
        }
        await self.cluster.create(PROVIDER_NETWORKS, network)
        given = {"cidrs": ["10.0.0.0/24"], "providerNetwork": self.namespace, **spec}
        await self.cluster.create(CLUSTER_SUBNETS, {**api, "kind": "ClusterSubnet", "spec": given})


@pytest.fixture
async def migration(world: World) -> AsyncIterator[Migration]:
    rack = OnRack(**vars(world))
    yield await Migration.of_running_vm(rack, nic="sriov")
    for kind in (CLUSTER_SUBNETS, PROVIDER_NETWORKS):
        await rack.cluster.delete(kind, rack.namespace)


async def test_a_guest_with_a_virtual_function_migrates(migration: Migration) -> None:
    world = migration.world

    async def external() -> bool:
        return migration.port in world.lsps() and world.column("db.blue", "type") == "external"

    async def told() -> bool:
        return (await migration.assignment("node2")).get("guestRunning") is True

    async def over() -> bool:
        return not await migration.assignment("node2")

    await until(external, "its port in OVN")
    row = [world.column("db.blue", column) for column in COLUMNS]
    await migration.migrate()
    await migration.state()
    assert await over(), "the guest is still on its way"
    await migration.state(targetNodeDomainReadyTimestamp=READY)
    await until(told, "the target's node told that the guest is there")
    assert not await migration.assignment("node1")
    await migration.vmi({"nodeName": "node2"})
    await world.cluster.patch(VMIMS, "m", {"status": {"phase": "Succeeded"}}, world.namespace, subresource="status")
    await until(over, "the target's node told that the migration is over")
    assert [world.column("db.blue", column) for column in COLUMNS] == row

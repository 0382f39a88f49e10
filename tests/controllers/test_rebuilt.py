"""OVN on real servers: it has what the objects say, whatever was away, deleted, or made by others."""

import pytest

from tests.controllers.conftest import PORTS, SUBNETS, World, gone, settled, until
from virtnet.api import Subnet, Vpc
from virtnet.kube import kinds
from virtnet.kube.kinds import VMS

pytestmark = pytest.mark.system

VPCS = kinds.of(Vpc)


async def test_a_controller_that_was_away_catches_up(world: World) -> None:
    await world.subnet()
    await world.vm()
    await settled(world)
    world.controller.kill()
    await world.cluster.delete(VMS, "db", world.namespace)
    await world.vm("web", "10.0.0.7", "02:76:6e:00:00:07")
    world.controller.start()

    async def caught_up() -> bool:
        rows, ports, leases = world.lsps(), await world.ports(), await world.leases()
        return (list(rows), set(ports), set(leases)) == (
            [f"{world.namespace}/web.blue"],
            {"web.blue"},
            {"10.0.0.7", "02:76:6e:00:00:07"},
        )

    await until(caught_up, "nothing of the old VM, all of the new one")


async def test_rows_that_somebody_deletes_come_back(world: World) -> None:
    await world.subnet()
    await world.vm()
    await settled(world)
    world.ovn.nbctl("lsp-del", f"{world.namespace}/db.blue")
    await settled(world)


async def test_a_northbound_database_that_was_deleted_is_rebuilt(world: World) -> None:
    await world.subnet()
    await world.vm()
    await settled(world)
    switches = world.ovn.nbctl("--bare", "--columns=name", "list", "Logical_Switch")
    world.ovn.kill("nb")
    world.ovn.erase("nb")
    world.ovn.start("nb")
    await settled(world)
    assert sorted(world.ovn.nbctl("--bare", "--columns=name", "list", "Logical_Switch").split()) == sorted(
        switches.split()
    )


async def test_what_is_not_ours_is_left_alone(world: World) -> None:
    world.ovn.nbctl("ls-add", f"neutron-{world.namespace}")
    world.ovn.nbctl("lsp-add", f"neutron-{world.namespace}", f"foreign-{world.namespace}")
    await world.subnet()
    await world.vm()
    await settled(world)
    await world.cluster.delete(VMS, "db", world.namespace)
    await gone(world)
    assert f"foreign-{world.namespace}" in world.ovn.nbctl("lsp-list", f"neutron-{world.namespace}")


async def test_a_port_in_use_is_not_deleted_with_its_object(world: World) -> None:
    await world.subnet()
    await world.vm()
    await settled(world)
    uid = (await world.ports())["db.blue"].metadata.uid
    await world.cluster.delete(PORTS, "db.blue", world.namespace)

    async def made_anew() -> bool:
        port = (await world.ports()).get("db.blue")
        return port is not None and port.metadata.uid != uid

    await until(made_anew, "the Port made anew")
    await settled(world)


async def test_of_two_overlapping_subnets_the_elder_is_served(world: World) -> None:
    await world.subnet()
    await world.vm()
    await settled(world)

    async def served() -> bool:
        parsed = Subnet.parse(await world.cluster.get(SUBNETS, "blue", world.namespace))
        return any(c.status == "True" for c in parsed.status.conditions)

    await until(served, "the elder Subnet served")
    body = {"apiVersion": "virtnet.dev/v1alpha1", "kind": "Subnet", "metadata": {"name": "late"}}
    spec = {"cidrs": ["10.0.0.128/25"], "vpc": {"kind": "Vpc", "name": "own"}}
    await world.cluster.create(SUBNETS, {**body, "spec": spec}, world.namespace)

    async def reason() -> str:
        parsed = Subnet.parse(await world.cluster.get(SUBNETS, "late", world.namespace))
        return next((f"{c.reason}: {c.message}" for c in parsed.status.conditions), "")

    async def overlaps() -> bool:
        return (await reason()).startswith("Overlaps: 10.0.0.128/25 overlaps 10.0.0.0/24")

    await until(overlaps, "the younger Subnet's condition")
    await settled(world)


async def test_a_vpc_that_vanishes_does_not_cut_its_guests_off(world: World) -> None:
    await world.subnet()
    await world.vm()
    await settled(world)
    await world.cluster.delete(VPCS, "own", world.namespace)

    async def missing() -> bool:
        parsed = Subnet.parse(await world.cluster.get(SUBNETS, "blue", world.namespace))
        return any(c.reason == "VpcMissing" for c in parsed.status.conditions)

    await until(missing, "the Subnet's condition")
    await settled(world)
    assert f"Vpc/{world.namespace}/own" in world.ovn.nbctl("list", "Logical_Router")

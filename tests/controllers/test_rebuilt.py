"""OVN on real servers: it has what the objects say, whatever was away, deleted, or made by others."""

from collections.abc import Awaitable, Callable
from functools import partial

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

    def switches() -> list[str]:
        return sorted(world.ovn.nbctl("--bare", "--columns=name", "list", "Logical_Switch").split())

    before = switches()
    world.ovn.kill("nb")
    world.ovn.erase("nb")
    world.ovn.start("nb")
    await settled(world)

    async def rebuilt() -> bool:
        return switches() == before

    await until(rebuilt, "the switches of all Subnets")


async def test_nothing_is_ready_before_ovn_has_it(world: World) -> None:
    async def said(kind: kinds.Kind, name: str) -> tuple[str, str, str]:
        body = await world.cluster.get(kind, name, world.namespace)
        conditions = (body.get("status") or {}).get("conditions") or ()
        found: dict[str, str] = next((one for one in conditions if one["type"] == "Ready"), {})
        return found.get("status", ""), found.get("reason", ""), found.get("message", "")

    world.ovn.kill("nb")
    try:
        await world.subnet()
        for kind, name in ((VPCS, "own"), (SUBNETS, "blue")):
            status, reason, message = await until(
                _once(partial(said, kind, name), ("False", "True")), f"{name} says so"
            )
            assert (status, reason) == ("False", "Pending")
            assert message.startswith("not")
    finally:
        world.ovn.start("nb")
    for kind, name in ((VPCS, "own"), (SUBNETS, "blue")):
        assert (await until(_once(partial(said, kind, name), ("True",)), f"{name} is ready"))[1] == "InOvn"


def _once(
    ask: Callable[[], Awaitable[tuple[str, str, str]]], statuses: tuple[str, ...]
) -> Callable[[], Awaitable[tuple[str, str, str] | None]]:
    """What is said once it is one of these."""

    async def found() -> tuple[str, str, str] | None:
        answer = await ask()
        return answer if answer[0] in statuses else None

    return found


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
    # It would wait for its Subnets; somebody forces it.
    await world.cluster.patch(VPCS, "own", {"metadata": {"finalizers": None}}, world.namespace)

    async def missing() -> bool:
        parsed = Subnet.parse(await world.cluster.get(SUBNETS, "blue", world.namespace))
        return any(c.reason == "VpcMissing" for c in parsed.status.conditions)

    await until(missing, "the Subnet's condition")
    await settled(world)
    assert f"Vpc/{world.namespace}/own" in world.ovn.nbctl("list", "Logical_Router")

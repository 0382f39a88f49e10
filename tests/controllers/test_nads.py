"""NetworkAttachmentDefinitions that go under VMs: one waits for the last NIC, and what is gone all the same is told."""

import contextlib

import pytest

from tests.controllers.conftest import World, settled, until
from tests.messages import PORTS
from tests.pinning.inputs import nad
from virtnet.api.names import IN_USE
from virtnet.features.nads import NAD_UNUSABLE
from virtnet.kube.errors import NotFound
from virtnet.kube.kinds import EVENTS, NADS, VMS

pytestmark = pytest.mark.system

FOREIGN = "example.com/backup"


async def finalizers(world: World) -> list[str] | None:
    """Those of the NAD; None where it is gone."""
    try:
        found = await world.cluster.get(NADS, "blue-net", world.namespace)
    except NotFound:
        return None
    return list(found["metadata"].get("finalizers") or ())


async def until_has(world: World, *wanted: str) -> None:
    async def so() -> bool:
        return await finalizers(world) == list(wanted)

    await until(so, f"finalizers {wanted}")


async def used(world: World) -> None:
    await world.subnet()
    await world.cluster.create(NADS, nad({"subnet": "blue"}, "blue-net"), world.namespace)
    await world.vm()
    await settled(world)


async def test_it_waits_for_the_last_nic(world: World) -> None:
    await used(world)
    await until_has(world, IN_USE)
    await world.cluster.delete(NADS, "blue-net", world.namespace)
    await world.vm("other", "10.0.0.6", "02:76:6e:00:00:06")
    await world.cluster.delete(VMS, "db", world.namespace)

    async def only_other() -> bool:
        return set(await world.ports()) == {"other.blue"}

    await until(only_other, "one VM gone")
    assert await finalizers(world) == [IN_USE]
    await world.cluster.delete(VMS, "other", world.namespace)

    async def gone() -> bool:
        return await finalizers(world) is None

    await until(gone, "the NAD gone with the last of them")


async def test_another_plugins_is_left_alone(world: World) -> None:
    bridge = nad('{"type": "bridge"}', "foreign")
    await world.cluster.create(
        NADS, {**bridge, "metadata": {"name": "foreign", "finalizers": [FOREIGN]}}, world.namespace
    )
    await used(world)
    await until_has(world, IN_USE)
    found = await world.cluster.get(NADS, "foreign", world.namespace)
    assert found["metadata"]["finalizers"] == [FOREIGN]
    await world.cluster.patch(NADS, "foreign", {"metadata": {"finalizers": None}}, world.namespace)


async def test_one_that_is_gone_all_the_same_is_told_on_the_port_and_its_vm(world: World) -> None:
    await used(world)
    await until_has(world, IN_USE)

    async def condition() -> tuple[str, str]:
        conditions = (await world.ports())["db.blue"].status.conditions
        return next(((one.reason, one.message) for one in conditions if one.type == NAD_UNUSABLE), ("", ""))

    async def tells(given: str) -> None:
        row = PORTS[given]
        wanted = (row.reason.split(": ")[1], row.message.replace("NS", world.namespace))

        async def so() -> bool:
            return await condition() == wanted

        await until(so, given)

    await world.cluster.patch(NADS, "blue-net", {"spec": nad({"subnet": "red"})["spec"]}, world.namespace)
    await tells("a NAD that leads elsewhere by now")
    await world.cluster.patch(NADS, "blue-net", {"metadata": {"finalizers": None}}, world.namespace)
    await world.cluster.delete(NADS, "blue-net", world.namespace)
    with contextlib.suppress(NotFound):  # the finalizer may have come back in between
        await world.cluster.patch(NADS, "blue-net", {"metadata": {"finalizers": None}}, world.namespace)
    await tells("a NAD that is gone")

    async def events() -> list[str]:
        found, _ = await world.cluster.list(EVENTS, world.namespace)
        return [one["regarding"]["kind"] for one in found if one["reason"] == NAD_UNUSABLE]

    assert set(await until(events, "an Event")) == {"VirtualMachine"}
    await world.cluster.create(NADS, nad({"subnet": "blue"}, "blue-net"), world.namespace)

    async def mended() -> bool:
        return (await condition()) == ("Usable", "")

    await until(mended, "taken back")

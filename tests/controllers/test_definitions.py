"""The controller while definitions of kinds are missing: it waits, says for what, and takes nothing from guests."""

from contextlib import suppress

import pytest

from tests.conftest import load_definitions
from tests.controllers.conftest import World, settled, until
from virtnet.api import ClusterVpc, Port, Subnet, Vpc
from virtnet.kube import kinds
from virtnet.kube.client import NotFound
from virtnet.kube.kinds import CRDS, Kind
from virtnet.lab.control_plane import ControlPlane

pytestmark = pytest.mark.system

PORTS = kinds.of(Port)


@pytest.fixture(scope="module")
def api_server(own_api_server: ControlPlane) -> ControlPlane:
    """One whose kinds nobody else needs."""
    return own_api_server


async def undefine(world: World, kind: Kind) -> None:
    await world.cluster.delete(CRDS, str(kind))

    async def undefined() -> bool:
        # What is in use waits for its users; somebody forces it.
        with suppress(NotFound):
            for metadata in (one["metadata"] for one in (await world.cluster.list(kind))[0]):
                if metadata.get("finalizers"):
                    forced = {"metadata": {"finalizers": None}}
                    await world.cluster.patch(kind, metadata["name"], forced, metadata.get("namespace", ""))
        try:
            await world.cluster.get(CRDS, str(kind), metadata_only=True)
        except NotFound:
            return True
        return False

    await until(undefined, f"the definition of {kind} gone")


async def reported(world: World, text: str) -> None:
    async def there() -> bool:
        return text in world.controller.log.read_text()

    await until(there, f"the controller says: {text}")


async def test_a_controller_waits_for_a_kind_of_its_own(api_server: ControlPlane, world: World) -> None:
    world.controller.kill()
    await undefine(world, PORTS)
    world.controller.start()
    pid = world.controller.pid
    await reported(world, f"the API server does not serve {PORTS}")
    await load_definitions(api_server)
    await world.subnet()
    await world.vm()
    await settled(world)
    assert world.controller.pid == pid


async def test_rows_stay_when_the_definitions_of_their_kinds_go(api_server: ControlPlane, world: World) -> None:
    await world.subnet()
    await world.vm()
    await settled(world)
    before = world.column("db.blue", "_uuid")
    router = world.ovn.nbctl("--bare", "--columns=_uuid", "list", "Logical_Router")
    gone = [kinds.of(model) for model in (Port, Subnet, Vpc, ClusterVpc)]
    for kind in gone:
        await undefine(world, kind)
        await reported(world, f"the definition of {kind} is being deleted")
    await load_definitions(api_server)
    await world.vm("other", "10.0.0.6", "02:76:6e:00:00:06")

    async def made_anew() -> bool:
        return {"db.blue", "other.blue"} <= (await world.ports()).keys()

    await until(made_anew, "the Ports made anew, so that the controller has seen the empty kinds")
    assert world.column("db.blue", "_uuid") == before
    assert world.ovn.nbctl("--bare", "--columns=_uuid", "list", "Logical_Router") == router


async def rows_of(world: World, *vms: str) -> dict[str, str]:
    """Port -> UUID of its row in OVN, once those of these VMs are there."""

    async def there() -> bool:
        return {f"{world.namespace}/{vm}.blue" for vm in vms} <= world.lsps().keys()

    await until(there, f"rows of {vms}")
    return {port: world.ovn.nbctl("get", "Logical_Switch_Port", port, "_uuid").strip() for port in world.lsps()}


async def test_rows_stay_over_a_restart_when_the_definitions_went_before(
    api_server: ControlPlane, world: World
) -> None:
    """While no controller looked; and they go when an administrator says that their objects are deleted."""

    async def recorded() -> bool:
        return "virtnet/definition-Port" in world.ovn.nbctl("get", "NB_Global", ".", "external_ids")

    await world.subnet()
    await world.vm()
    await world.vm("gone", "10.0.0.7", "02:76:6e:00:00:07")
    before = await rows_of(world, "db", "gone")
    await until(recorded, "OVN says by which definitions its rows were written")
    world.controller.kill()
    await world.cluster.delete(kinds.VMS, "gone", world.namespace)
    for model in (Port, Subnet, Vpc):
        await undefine(world, kinds.of(model))
    await load_definitions(api_server)

    world.controller.start()
    await world.subnet()
    await world.vm("second", "10.0.0.8", "02:76:6e:00:00:08")
    assert before.items() <= (await rows_of(world, "second")).items()
    world.controller.kill()  # what one controller was told, the next one knows
    world.controller.start()
    await world.vm("third", "10.0.0.9", "02:76:6e:00:00:09")
    assert before.items() <= (await rows_of(world, "third")).items()

    world.controller.kill()
    world.ovn.nbctl("remove", "NB_Global", ".", "external_ids", "virtnet/definition-Port")
    world.controller.start()

    async def removed() -> bool:
        return f"{world.namespace}/gone.blue" not in world.lsps()

    await until(removed, "the row of the Port that is not to come back")
    assert world.column("db.blue", "_uuid") == before[f"{world.namespace}/db.blue"]

"""What others use is deleted: taken at once, told who is left, and gone with the last of them. With admission."""

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.controllers.conftest import World, until, until_gone
from tests.messages import DELETIONS
from tests.pinning.conftest import ACCOUNT, give_rights, pinned, register, replica
from tests.pinning.inputs import asking, nad, network, subnet, vm
from tests.pinning.pods import attachments, launcher
from virtnet.api import ClusterSubnet, ClusterVpc, NodeNetwork, ProviderNetwork, Resource, Subnet, Vpc
from virtnet.api.meta import API_VERSION, DELETING
from virtnet.features import FEATURES
from virtnet.kube import kinds
from virtnet.kube.errors import NotFound, Rejected
from virtnet.kube.kinds import CRDS, NADS, NODES, PODS, VMS, Kind
from virtnet.lab import identities
from virtnet.lab.control_plane import ControlPlane

pytestmark = pytest.mark.system

Body = dict[str, Any]

FOREIGN = "example.com/backup"
"""A finalizer of somebody else's."""


@pytest.fixture(scope="module")
def api_server(own_api_server: ControlPlane) -> ControlPlane:
    """One that asks a webhook, which other tests do without."""
    return own_api_server


@pytest.fixture(scope="module", autouse=True)
def webhook(api_server: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    asyncio.run(give_rights(api_server))
    identities.write_kubeconfig(api_server, ACCOUNT, identities.token(api_server, ACCOUNT))
    found = replica(api_server, tmp_path_factory.mktemp("webhook"), "a")
    asyncio.run(found.start())
    asyncio.run(register(api_server, {"a": found}))
    yield
    found.daemon.stop()


def blue(**metadata: Any) -> Body:
    body = subnet("blue", "10.0.0.0/24")
    return {**body, "metadata": {**body["metadata"], **metadata}}


def own_vpc(**metadata: Any) -> Body:
    return {"apiVersion": API_VERSION, "kind": "Vpc", "metadata": {"name": "blue", **metadata}}


BUNDLE = (own_vpc(), blue(), nad({"subnet": "blue"}, "blue-net"), vm("db"))
KINDS: dict[str, Kind] = {
    **{feature.kind: kinds.of(feature.model) for feature in FEATURES},
    "NetworkAttachmentDefinition": NADS,
    "VirtualMachine": VMS,
}


async def make(world: World, *bodies: Body) -> None:
    for body in bodies:
        kind = KINDS[body["kind"]]
        await world.cluster.create(kind, body, world.namespace if kind.namespaced else "")


def here(world: World, model: type[Resource], name: str) -> tuple[Kind, str, str]:
    kind = kinds.of(model)
    return kind, name, world.namespace if kind.namespaced else ""


async def delete(world: World, model: type[Resource], name: str) -> None:
    await world.cluster.delete(*here(world, model, name))


async def is_gone(world: World, model: type[Resource], name: str) -> None:
    await until_gone(world.cluster, *here(world, model, name))


async def blocked(world: World, model: type[Resource], name: str, given: str) -> None:
    """It says who is left, as the table has it."""
    wanted = DELETIONS[given].message.replace("NS", world.namespace)

    async def so() -> str:
        found: Any = model.parse(await world.cluster.get(*here(world, model, name)))
        states = [one for one in found.status.conditions if one.type == DELETING and one.status == "True"]
        return states[0].message if states else ""

    async def says() -> bool:
        return await so() == wanted

    try:
        await until(says, given)
    except AssertionError as error:
        raise AssertionError(f"{await so()!r} is told, and not {wanted!r}") from error


async def served(world: World, model: type[Resource], name: str) -> None:
    async def so() -> bool:
        found: Any = model.parse(await world.cluster.get(*here(world, model, name)))
        return any((one.type, one.status) == ("Ready", "True") for one in found.status.conditions)

    await until(so, f"{name} served")


async def kubectl(server: ControlPlane, *arguments: str, given: str = "") -> str:
    process = await asyncio.create_subprocess_exec(
        server.binaries.kubectl, f"--kubeconfig={server.kubeconfig}", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate(given.encode())
    assert process.returncode == 0, said.decode()
    return said.decode()


@pytest.mark.parametrize(
    "order", list(itertools.permutations(BUNDLE)), ids=lambda order: "-".join(o["kind"] for o in order)
)
async def test_a_bundle_goes_in_any_order(api_server: ControlPlane, world: World, order: tuple[Body, ...]) -> None:
    await make(world, *BUNDLE)
    await served(world, Subnet, "blue")
    await kubectl(
        api_server,
        "delete",
        f"--namespace={world.namespace}",
        "--timeout=20s",
        "-f",
        "-",
        given=yaml.safe_dump_all(order),
    )

    async def nothing() -> bool:
        tables = ("Logical_Switch", "Logical_Router", "DHCP_Options")
        rows = "".join(world.ovn.nbctl("--bare", "--columns=external_ids", "list", table) for table in tables)
        return not (world.lsps() or await world.leases() or await world.ports() or f"/{world.namespace}/" in rows)

    for model in (Subnet, Vpc):
        await is_gone(world, model, "blue")
    await until(nothing, "nothing left of it")


async def test_a_vpc_waits_for_its_subnets(api_server: ControlPlane, world: World) -> None:
    await make(world, own_vpc(finalizers=[FOREIGN]), blue())
    await served(world, Vpc, "blue")
    await served(world, Subnet, "blue")
    await delete(world, Vpc, "blue")
    await blocked(world, Vpc, "blue", "a Vpc with Subnets")
    shown = await kubectl(api_server, "get", "vpc", "blue", f"--namespace={world.namespace}")
    assert DELETIONS["a Vpc with Subnets"].message.replace("NS", world.namespace) in shown
    await delete(world, Subnet, "blue")
    await is_gone(world, Subnet, "blue")

    async def only_theirs() -> bool:
        found = await world.cluster.get(*here(world, Vpc, "blue"))
        return bool(found["metadata"]["finalizers"] == [FOREIGN])

    await until(only_theirs, "other finalizers kept")
    await world.cluster.patch(*here(world, Vpc, "blue")[:2], {"metadata": {"finalizers": None}}, world.namespace)
    await is_gone(world, Vpc, "blue")


async def test_a_subnet_waits_for_its_vms_and_hands_out_nothing_more(world: World) -> None:
    await make(world, *BUNDLE[:3], asking("10.0.0.5"))
    await served(world, Subnet, "blue")
    before = pinned(await world.cluster.get(VMS, "db", world.namespace))
    await delete(world, Subnet, "blue")
    await blocked(world, Subnet, "blue", "a Subnet with VMs")

    async def refused() -> str:
        try:
            await world.cluster.create(VMS, vm("late"), world.namespace, dry_run=True)
        except Rejected as refusal:
            return str(refusal)
        return ""

    assert f"Subnet {world.namespace}/blue is being deleted" in await until(refused, "nothing more is handed out")
    label = {"spec": {"template": {"metadata": {"annotations": {"example.com/note": "changed"}}}}}
    assert pinned(await world.cluster.patch(VMS, "db", label, world.namespace)) == before
    for name, labels in (("start", {}), ("migration", {"kubevirt.io/migrationJobUID": "7"})):
        marked = await world.cluster.create(PODS, launcher(name=name, labels=labels), world.namespace)
        (attached,) = attachments(marked).values()
        assert attached["addresses"] == ["10.0.0.5/24"]
        await world.cluster.delete(PODS, name, world.namespace)
    await world.cluster.delete(VMS, "db", world.namespace)
    await is_gone(world, Subnet, "blue")


async def test_a_provider_network_waits_for_its_cluster_subnets(world: World) -> None:
    name, labels = world.namespace, {"site": world.namespace}
    lan = {"cidrs": ["10.9.0.0/24"], "vpc": {"kind": "ClusterVpc", "name": name}, "providerNetwork": name}
    await make(
        world,
        network(name, "eth1", nodeSelector=labels),
        {"apiVersion": API_VERSION, "kind": "ClusterVpc", "metadata": {"name": name}},
        {"apiVersion": API_VERSION, "kind": "ClusterSubnet", "metadata": {"name": name}, "spec": lan},
        {"apiVersion": API_VERSION, "kind": "NodeNetwork", "metadata": {"name": name}},
    )
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
    await world.cluster.create(NODES, node)
    await served(world, ClusterSubnet, name)

    async def nics() -> Any:
        return (await world.cluster.get(*here(world, NodeNetwork, name)))["spec"].get("providerNetworks")

    async def plugged() -> bool:
        return bool(await nics())

    await until(plugged, "the node is asked for its NIC")
    await delete(world, ProviderNetwork, name)
    await blocked(world, ProviderNetwork, name, "a ProviderNetwork with ClusterSubnets")
    assert await plugged(), "guests use it"
    await delete(world, ClusterSubnet, name)
    await is_gone(world, ProviderNetwork, name)

    async def unplugged() -> bool:
        return not await nics()

    await until(unplugged, "the node lets go of its NIC")


async def test_the_default_vpc_is_always_there(world: World) -> None:
    async def uid() -> str:
        try:
            found = await world.cluster.get(*here(world, ClusterVpc, "default"))
        except NotFound:
            return ""
        return "" if "deletionTimestamp" in found["metadata"] else str(found["metadata"]["uid"])

    before = await until(uid, "made")
    with pytest.raises(Rejected) as refusal:
        await delete(world, ClusterVpc, "default")
    assert str(refusal.value) == (
        'admission webhook "keep-default.virtnet.dev" denied the request: ClusterVpc default is always there, and '
        "cannot be deleted; delete what lies in it, or uninstall virtnet (docs/deletion.md)"
    )
    assert await uid() == before
    name = "virtnet-a"
    hooks = Kind("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", namespaced=False)
    kept = await world.cluster.get(hooks, name)
    await world.cluster.delete(hooks, name)
    try:

        async def forced_away() -> bool:
            try:
                await delete(world, ClusterVpc, "default")
                await world.cluster.patch(kinds.of(ClusterVpc), "default", {"metadata": {"finalizers": None}})
            except NotFound:
                pass
            return await uid() not in ("", before)

        await until(forced_away, "made again")
    finally:
        fields = {key: value for key, value in kept.items() if key != "metadata"}
        await world.cluster.create(hooks, {**fields, "metadata": {"name": name}})


async def test_definitions_go_while_the_controller_runs(world: World) -> None:
    """As docs/deletion.md says to uninstall it. Last of this server: it serves the kind no more."""
    await make(world, own_vpc())
    await served(world, Vpc, "blue")
    for model in (Vpc, ClusterVpc):
        definition = str(kinds.of(model))
        await world.cluster.delete(CRDS, definition)
        await until_gone(world.cluster, CRDS, definition)


def test_kubectl_shows_who_is_left() -> None:
    for feature in FEATURES:
        columns = {column.name for column in feature.model.crd.columns}
        assert ("Deleting" in columns) == (feature.in_use is not None), feature.kind

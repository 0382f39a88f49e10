"""What keeps objects from being served is brought about, and people are told what docs/errors.md says."""

import copy
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.controllers.conftest import World, until
from tests.messages import NICS, PORTS, PROVIDERS, SUBNETS, Message
from virtnet.api import ClusterSubnet, ClusterVpc, NodeNetwork, Port, ProviderNetwork, Resource, Subnet
from virtnet.api.crds import definition
from virtnet.kube import kinds
from virtnet.kube.errors import NotFound
from virtnet.kube.kinds import EVENTS, Kind
from virtnet.lab import manifests

pytestmark = pytest.mark.system

Bring = Callable[[World], Awaitable[tuple[type[Resource], str]]]
"""Bring something about; returns what is to tell of it."""


async def make(world: World, model: type[Resource], name: str, **spec: Any) -> None:
    kind = kinds.of(model)
    body = {"apiVersion": "virtnet.dev/v1alpha1", "kind": model.__name__, "metadata": {"name": name}, "spec": spec}
    await world.cluster.create(kind, body, world.namespace if kind.namespaced else "")


async def said(world: World, model: type[Resource], name: str) -> list[tuple[str, str]]:
    """Reason and message of each condition that tells of something wrong, as the tables have them."""
    kind = kinds.of(model)
    found: Any = model.parse(await world.cluster.get(kind, name, world.namespace if kind.namespaced else ""))
    return [
        (one.reason if one.type == "Ready" else f"{one.type}: {one.reason}", one.message)
        for one in found.status.conditions
        if one.status == ("False" if one.type == "Ready" else "True")
    ]


async def tells(world: World, row: Message, model: type[Resource], name: str) -> None:
    wanted = (row.reason, row.message.replace("NS", world.namespace))

    async def so() -> bool:
        return wanted in await said(world, model, name)

    try:
        await until(so, row.given)
    except AssertionError as error:
        raise AssertionError(f"{await said(world, model, name)} is told, and not {wanted}") from error


async def served(world: World, model: type[Resource], name: str) -> None:
    kind = kinds.of(model)

    async def so() -> bool:
        found: Any = model.parse(await world.cluster.get(kind, name, world.namespace if kind.namespaced else ""))
        return any((one.type, one.status) == ("Ready", "True") for one in found.status.conditions)

    await until(so, f"{name} served")


async def nodes(world: World, *letters: str) -> dict[str, str]:
    """Some of this test alone, which their labels name."""
    labels = {"site": world.namespace}
    for letter in letters:
        name = f"{world.namespace}-{letter}"
        metadata = {"name": name, "labels": labels}
        await world.cluster.create(kinds.NODES, {"apiVersion": "v1", "kind": "Node", "metadata": metadata})
        await make(world, NodeNetwork, name)
    return labels


async def answers(world: World, letter: str, **answer: Any) -> None:
    patch = {"status": {"providerNetworks": {world.namespace: answer}}}
    name = f"{world.namespace}-{letter}"
    await world.cluster.patch(kinds.of(NodeNetwork), name, patch, subresource="status")


async def silent_node(world: World) -> tuple[type[Resource], str]:
    await make(world, ProviderNetwork, world.namespace, defaultNic="eth1", nodeSelector=await nodes(world, "a"))
    return ProviderNetwork, world.namespace


async def rivals_by_label(world: World) -> tuple[type[Resource], str]:
    labels = await nodes(world, "a")
    await make(world, ProviderNetwork, f"{world.namespace}-elder", defaultNic="eth1", nodeSelector=labels)
    await make(world, ProviderNetwork, f"{world.namespace}-late", defaultNic="eth1", nodeSelector=labels)
    return ProviderNetwork, f"{world.namespace}-late"


async def several_nodes(world: World) -> tuple[type[Resource], str]:
    await make(world, ProviderNetwork, world.namespace, defaultNic="eth1", nodeSelector=await nodes(world, "a", "b"))
    row = NICS["no such NIC"]
    for letter in "ab":
        await answers(world, letter, reason=row.reason, message=row.message.replace("eth9", "eth1"))
    return ProviderNetwork, world.namespace


async def nobody_selected(world: World) -> tuple[type[Resource], str]:
    await make(world, ProviderNetwork, world.namespace, defaultNic="eth1", nodeSelector={"site": world.namespace})
    return ProviderNetwork, world.namespace


async def without_vpc(world: World) -> tuple[type[Resource], str]:
    await make(world, Subnet, "blue", cidrs=["10.0.0.0/24"], vpc={"kind": "Vpc", "name": "own"})
    return Subnet, "blue"


async def vpc_of_others(world: World) -> tuple[type[Resource], str]:
    await make(world, ClusterVpc, world.namespace, allowedNamespaces=["others"])
    vpc = {"kind": "ClusterVpc", "name": world.namespace}
    await make(world, Subnet, "blue", cidrs=["10.0.0.0/24"], vpc=vpc)
    return Subnet, "blue"


async def underlay(world: World, name: str, cidr: str = "10.0.0.0/24") -> None:
    vpc = {"kind": "ClusterVpc", "name": name}
    await make(world, ClusterVpc, name)
    await make(world, ClusterSubnet, name, cidrs=[cidr], vpc=vpc, providerNetwork=world.namespace, vlan=100)


async def without_provider_network(world: World) -> tuple[type[Resource], str]:
    await underlay(world, world.namespace)
    return ClusterSubnet, world.namespace


async def overlapping_in_vpc(world: World) -> tuple[type[Resource], str]:
    await world.subnet()
    await served(world, Subnet, "blue")
    await make(world, Subnet, "late", cidrs=["10.0.0.128/25"], vpc={"kind": "Vpc", "name": "own"})
    return Subnet, "late"


async def overlapping_on_vlan(world: World) -> tuple[type[Resource], str]:
    await make(world, ProviderNetwork, world.namespace, defaultNic="eth1", nodeSelector={"site": world.namespace})
    await underlay(world, f"{world.namespace}-elder")
    await served(world, ClusterSubnet, f"{world.namespace}-elder")
    await underlay(world, f"{world.namespace}-late", "10.0.0.128/25")
    return ClusterSubnet, f"{world.namespace}-late"


async def not_to_be_served(world: World) -> tuple[type[Resource], str]:
    await world.subnet(excludes=["10.6.0.1"])
    return Subnet, "blue"


async def stored_before_its_rule(world: World) -> tuple[type[Resource], str]:
    """By an earlier version of the kind, which is served beside the present one meanwhile."""
    crd = definition(Subnet)
    (version,) = crd["spec"]["versions"]
    earlier = {**copy.deepcopy(version), "name": "v1alpha0", "storage": False}
    spec = earlier["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["properties"]["dns"]["properties"]["domain"]["x-kubernetes-validations"]
    crd["spec"]["versions"].append(earlier)
    await manifests.apply(world.cluster, [crd])
    api, spec = {"apiVersion": "virtnet.dev/v1alpha0", "kind": "Subnet"}, {"cidrs": ["10.0.0.0/24"]}
    body = {**api, "metadata": {"name": "blue"}, "spec": {**spec, "dns": {"domain": 'a"b'}}}

    async def stored() -> bool:
        try:
            await world.cluster.create(Kind("virtnet.dev", "v1alpha0", "subnets"), body, world.namespace)
        except NotFound:  # the version is not served yet
            return False
        return True

    await until(stored, "stored by the earlier version")
    await manifests.apply(world.cluster, [definition(Subnet)])
    return Subnet, "blue"


async def without_addresses(world: World) -> tuple[type[Resource], str]:
    await world.subnet(ranges=["10.0.0.5"])
    await world.vm()
    return Subnet, "blue"


async def held_by_another(world: World) -> tuple[type[Resource], str]:
    await world.subnet()
    await world.vm()
    await until(world.ports, "the first VM's Port")
    await world.vm("heir", "10.0.0.5", "02:76:6e:00:00:99", leased=False)
    await port_of(world, "heir")
    return Port, "heir.blue"


async def with_anothers_mac(world: World) -> tuple[type[Resource], str]:
    """Two that admission did not see together."""
    await make(world, ProviderNetwork, world.namespace, defaultNic="eth1", nodeSelector={"site": world.namespace})
    for name, cidr, vm, address in (
        (world.namespace, "10.0.0.0/25", "db", "10.0.0.5"),
        (f"{world.namespace}-two", "10.0.0.128/25", "heir", "10.0.0.205"),
    ):
        await underlay(world, name, cidr)
        subnet = {"kind": "ClusterSubnet", "name": name}
        body = world.manifest(vm, address, "02:76:6e:00:00:05", subnet=subnet)
        await world.cluster.create(kinds.VMS, body, world.namespace)
        await port_of(world, vm)
    return Port, "heir.blue"


async def without_subnet(world: World) -> tuple[type[Resource], str]:
    await world.vm()
    await port_of(world, "db")
    return Port, "db.blue"


async def on_a_subnet_without_vpc(world: World) -> tuple[type[Resource], str]:
    await without_vpc(world)
    await tells(world, SUBNETS["no such Vpc"], Subnet, "blue")
    return await without_subnet(world)


async def port_of(world: World, vm: str) -> None:
    async def there() -> bool:
        return f"{vm}.blue" in await world.ports()

    await until(there, f"the Port of {vm}")


WAYS: dict[str, Bring] = {
    "a node whose virtnet-node does not run": silent_node,
    "a NIC that an elder ProviderNetwork has, because labels of nodes brought them together": rivals_by_label,
    "several nodes that could not": several_nodes,
    "no node that is selected": nobody_selected,
    "no such Vpc": without_vpc,
    "a ClusterVpc that no longer allows the namespace": vpc_of_others,
    "no such ProviderNetwork": without_provider_network,
    "two that overlap in a Vpc, admitted at once": overlapping_in_vpc,
    "two that overlap on a VLAN, admitted at once": overlapping_on_vlan,
    "what admission would refuse, written while it was away": not_to_be_served,
    "what the schema would refuse, stored before it did": stored_before_its_rule,
    "no address left": without_addresses,
    "an address that another NIC holds": held_by_another,
    "a MAC that a NIC in another ClusterSubnet of the same VLAN has": with_anothers_mac,
    "a Subnet that is no longer there": without_subnet,
    "a Subnet that cannot be put into OVN": on_a_subnet_without_vpc,
}
ELSEWHERE = {
    "tests/features/test_mtu.py": (
        "tunnels that are too narrow",
        "an underlay's tunnels that are too narrow",
        "NICs that are too narrow",
    ),
    "tests/controllers/test_nads.py": ("a NAD that is gone", "a NAD that leads elsewhere by now"),
    "tests/controllers/test_conflicts.py": ("an address that a machine outside has",),
    "tests/features/test_allowed_addresses.py": (
        "an allowed address that its Subnet does not permit",
        "an allowed address that another NIC holds",
    ),
}
ROWS = [*PROVIDERS.rows, *SUBNETS.rows, *PORTS.rows]


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.given) for row in ROWS if row.given not in sum(ELSEWHERE.values(), ())]
)
async def test_people_are_told(world: World, row: Message) -> None:
    model, name = await WAYS[row.given](world)
    await tells(world, row, model, name)


async def test_a_network_tells_by_an_event_what_a_node_could_not_do(world: World) -> None:
    await several_nodes(world)
    row = NICS["no such NIC"]

    async def notes() -> set[str]:
        found, _ = await world.cluster.list(EVENTS, "default")
        return {one["note"] for one in found if one["reason"] == row.reason and world.namespace in one["note"]}

    message = row.message.replace("eth9", "eth1")
    wanted = {f"{world.namespace}-{letter}: {message}" for letter in "ab"}

    async def reported() -> bool:
        return await notes() == wanted

    await until(reported, "an Event for each node")

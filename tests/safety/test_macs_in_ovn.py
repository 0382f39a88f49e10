"""One MAC is that of one port on a piece of a physical network, also where admission did not see two NICs together."""

import pytest

from tests.controllers.conftest import LEASES, World, central, controller, until, world
from tests.pinning.inputs import Body
from virtnet.api import ClusterSubnet, ClusterVpc, ProviderNetwork, SubnetRef
from virtnet.api.lease import lease_name
from virtnet.kube import kinds
from virtnet.kube.kinds import VMS

__all__ = ["central", "controller", "world"]

pytestmark = pytest.mark.system

MAC = "02:76:6e:00:00:05"
API = "virtnet.dev/v1alpha1"


def ref(world: World, which: str) -> SubnetRef:
    return SubnetRef(kind="ClusterSubnet", name=f"{world.namespace}-{which}")


async def rack(world: World, **vlans: int) -> None:
    """A ProviderNetwork with ClusterSubnets, by their names: on which VLAN each is."""
    metadata, spec = {"name": world.namespace}, {"defaultNic": "eth1", "nodeSelector": {"site": world.namespace}}
    for model, more in ((ProviderNetwork, spec), (ClusterVpc, {})):
        body = {"apiVersion": API, "kind": model.__name__, "metadata": metadata, "spec": more}
        await world.cluster.create(kinds.of(model), body)
    for number, (which, vlan) in enumerate(vlans.items()):
        vpc = {"kind": "ClusterVpc", "name": world.namespace}
        lan: Body = {"cidrs": [f"10.{number}.0.0/24"], "vpc": vpc, "providerNetwork": world.namespace, "vlan": vlan}
        body = {"apiVersion": API, "kind": "ClusterSubnet", "metadata": {"name": ref(world, which).name}, "spec": lan}
        await world.cluster.create(kinds.of(ClusterSubnet), body)


async def vm(world: World, name: str, which: str, number: int) -> None:
    """One with the same MAC as any other, and no lease: the controller claims it."""
    await world.cluster.create(
        VMS, world.manifest(name, f"10.{number}.0.5", MAC, subnet=ref(world, which)), world.namespace
    )


async def in_ovn(world: World, *names: str, refused: str = "") -> None:
    """Exactly these VMs have rows, and the Port of the refused one says why it has none."""

    async def so() -> bool:
        rows = {key.partition("/")[2].partition(".")[0] for key in world.lsps()}
        port = (await world.ports()).get(f"{refused}.blue")
        told = [one.message for one in port.status.conditions if one.type == "Ready"] if port else [""]
        held = f"{MAC} is held by VM {world.namespace}/" if refused else ""
        return rows == set(names) and all(held in one for one in told)

    await until(so, f"rows of {names}, and none of {refused or 'others'}")


async def test_the_second_waits_until_the_first_is_gone(world: World) -> None:
    await rack(world, one=7, two=7, far=8)
    await vm(world, "zoe", "one", 0)
    await in_ovn(world, "zoe")
    await vm(world, "amy", "two", 1)
    await vm(world, "far", "far", 2)
    await in_ovn(world, "zoe", "far", refused="amy")
    await world.cluster.delete(LEASES, lease_name(MAC, ref(world, "one")))
    await in_ovn(world, "zoe", "far", refused="amy")
    await world.cluster.delete(VMS, "zoe", world.namespace)
    await in_ovn(world, "amy", "far")


async def test_two_that_come_at_once(world: World) -> None:
    await rack(world, one=7, two=7)
    for number, (name, which) in enumerate((("zoe", "one"), ("amy", "two"))):
        await vm(world, name, which, number)

    async def settled() -> bool:
        return len(await world.ports()) == 2 and len(world.lsps()) == 1

    await until(settled, "both Ports, and one row")
    (row,) = world.lsps()
    there = row.partition("/")[2].partition(".")[0]
    await in_ovn(world, there, refused="amy" if there == "zoe" else "zoe")


async def test_two_subnets_that_come_to_one_vlan(world: World) -> None:
    await rack(world, one=7, two=8)
    await vm(world, "zoe", "one", 0)
    await vm(world, "amy", "two", 1)
    await in_ovn(world, "zoe", "amy")
    await world.cluster.patch(kinds.of(ClusterSubnet), ref(world, "two").name, {"spec": {"vlan": 7}})
    await in_ovn(world, "amy", refused="zoe")
    await world.cluster.patch(kinds.of(ClusterSubnet), ref(world, "two").name, {"spec": {"vlan": 9}})
    await in_ovn(world, "zoe", "amy")

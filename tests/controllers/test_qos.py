"""Policies of NICs on real servers: live on VMs that are there, told where they are missing, kept while they are used."""

import json
from typing import Any

import pytest

from tests.controllers.conftest import SUBNETS, World, settled, until
from virtnet.api import Subnet
from virtnet.api.qos_policy import QOS, ClusterQosPolicy, QosPolicy
from virtnet.kube import kinds
from virtnet.kube.errors import NotFound
from virtnet.kube.kinds import VMS

pytestmark = pytest.mark.system

POLICIES, CLUSTER_POLICIES = kinds.of(QosPolicy), kinds.of(ClusterQosPolicy)
MISSING = "QosPolicyMissing"


async def policy(world: World, name: str, **egress: int) -> None:
    body = {"apiVersion": "virtnet.dev/v1alpha1", "kind": "QosPolicy", "metadata": {"name": name}}
    await world.cluster.create(POLICIES, {**body, "spec": {"egress": egress}}, world.namespace)


async def name(world: World, policy: str | None) -> None:
    """Write the annotation of the stored VM, or take it away."""
    text = json.dumps({"blue": policy}) if policy else None
    await world.cluster.patch(VMS, "db", {"metadata": {"annotations": {QOS: text}}}, world.namespace)


def rows(world: World) -> list[tuple[str, ...]]:
    """What OVN has for the VM's NIC."""
    columns = ("direction", "match", "bandwidth", "action")
    text = world.ovn.nbctl("--format=json", f"--columns={','.join(columns)}", "list", "QoS")
    found = json.loads(text)["data"]
    ours = [row for row in found if f'"{world.namespace}/db.blue"' in row[1]]
    return sorted((row[0], *(" ".join(f"{k}={v}" for k, v in sorted(one[1])) for one in row[2:])) for row in ours)


async def bounded(world: World, *wanted: tuple[str, ...]) -> None:
    async def has() -> Any:
        return rows(world) == sorted(wanted) or ()

    await until(has, f"rows {wanted}")


async def missing(world: World) -> str:
    port = (await world.ports())["db.blue"]
    return next((one.message for one in port.status.conditions if one.type == MISSING and one.status == "True"), "")


async def test_the_policy_of_a_vm_changes_while_it_is_there(world: World) -> None:
    await world.subnet()
    await world.vm()
    await settled(world)
    await name(world, "gold")

    async def reported() -> bool:
        return "QosPolicy gold does not exist" in await missing(world)

    await until(reported, "the Port's condition")
    await bounded(world)
    await policy(world, "gold", rateKbps=1000, dscp=46)
    await bounded(world, ("from-lport", "burst=800 rate=1000", "dscp=46"))
    world.ovn.nbctl("--wait=sb", "sync")
    flows = [line for line in world.ovn.sbctl("lflow-list").splitlines() if f"{world.namespace}/db.blue" in line]
    assert [line for line in flows if "set_meter(1000, 800)" in line]
    assert [line for line in flows if "ip.dscp = 46" in line]

    await world.cluster.patch(POLICIES, "gold", {"spec": {"ingress": {"rateKbps": 3000}}}, world.namespace)
    await bounded(world, ("from-lport", "burst=800 rate=1000", "dscp=46"), ("to-lport", "burst=2400 rate=3000", ""))

    async def found() -> bool:
        return not await missing(world)

    await until(found, "the Port's condition gone")
    await name(world, None)
    await bounded(world)


async def test_what_is_enforced_binds_without_being_named(world: World) -> None:
    await world.subnet()
    await world.vm()
    await settled(world)
    name = f"all-{world.namespace}"
    body = {"apiVersion": "virtnet.dev/v1alpha1", "kind": "ClusterQosPolicy", "metadata": {"name": name}}
    spec = {"enforced": True, "allowedNamespaces": [world.namespace], "egress": {"rateKbps": 500}}
    await world.cluster.create(CLUSTER_POLICIES, {**body, "spec": spec})
    await bounded(world, ("from-lport", "burst=400 rate=500", ""))
    await world.cluster.delete(CLUSTER_POLICIES, name)
    await bounded(world)


async def test_a_policy_that_is_named_outlives_its_deletion_until_it_is_not(world: World) -> None:
    await world.subnet(qosPolicy={"name": "silver"})
    await world.vm()
    await settled(world)

    async def misses_it() -> bool:
        subnet = Subnet.parse(await world.cluster.get(SUBNETS, "blue", world.namespace))
        return any(one.type == MISSING and one.status == "True" for one in subnet.status.conditions)

    async def has_it() -> bool:
        return not await misses_it()

    await until(misses_it, "the Subnet's condition")
    await policy(world, "silver", rateKbps=2000)
    await until(has_it, "the Subnet's condition gone")
    await bounded(world, ("from-lport", "burst=1600 rate=2000", ""))

    async def ready() -> bool:
        found = QosPolicy.parse(await world.cluster.get(POLICIES, "silver", world.namespace))
        return bool(found.metadata.finalizers) and any(
            one.type == "Ready" and one.status == "True" for one in found.status.conditions
        )

    await until(ready, "the policy Ready")
    await world.cluster.delete(POLICIES, "silver", world.namespace)

    async def blocked() -> bool:
        found = QosPolicy.parse(await world.cluster.get(POLICIES, "silver", world.namespace))
        return any("1 Subnets" in one.message for one in found.status.conditions if one.type == "Deleting")

    await until(blocked, "who names it")
    await bounded(world, ("from-lport", "burst=1600 rate=2000", ""))
    await world.cluster.patch(SUBNETS, "blue", {"spec": {"qosPolicy": None}}, world.namespace)

    async def gone() -> bool:
        try:
            await world.cluster.get(POLICIES, "silver", world.namespace)
        except NotFound:
            return True
        return False

    await until(gone, "the policy gone with its last user")
    await bounded(world)

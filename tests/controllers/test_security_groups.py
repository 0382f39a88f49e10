"""Security groups on real servers: who may talk to whom, by OVN's own trace; live, and without a moment in which all may."""

import asyncio
import json
from typing import Any

import pytest

from tests.controllers.conftest import SUBNETS, World, until, until_gone
from virtnet.api.security_group import SECURITY_GROUPS, ClusterSecurityGroup, SecurityGroup
from virtnet.kube import kinds
from virtnet.kube.kinds import VMS

pytestmark = pytest.mark.system

GROUPS, CLUSTER_GROUPS = kinds.of(SecurityGroup), kinds.of(ClusterSecurityGroup)
API = "virtnet.dev/v1alpha1"
NICS = {"db": ("10.0.0.5", "02:76:6e:00:00:05"), "web": ("10.0.0.6", "02:76:6e:00:00:06")}
HTTP = "tcp.dst == 80"
SYN = f"{HTTP} && tcp.flags == 2"


async def workloads(world: World, **more: Any) -> None:
    """Two VMs in a Subnet; ``more``: of its spec."""
    await world.subnet(**more)
    for name, (address, mac) in NICS.items():
        await world.vm(name, address, mac)

    async def there() -> bool:
        return len(world.lsps()) == len(NICS)

    await until(there, "both ports in OVN")


async def group(world: World, name: str, **spec: Any) -> None:
    body = {"apiVersion": API, "kind": "SecurityGroup", "metadata": {"name": name}, "spec": spec}
    await world.cluster.create(GROUPS, body, world.namespace)


async def name(world: World, vm: str, *groups: str) -> None:
    """Write the annotation of a stored VM, or take it away."""
    text = json.dumps({"blue": groups}) if groups else None
    await world.cluster.patch(VMS, vm, {"metadata": {"annotations": {SECURITY_GROUPS: text}}}, world.namespace)


def passes(world: World, source: str, target: str, what: str = SYN) -> bool:
    """Whether OVN lets a packet of one VM's reach the other, as its databases are now."""
    return f'output to "{world.namespace}/{target}.blue"' in trace(world, source, target, what)


def trace(world: World, source: str, target: str, what: str = SYN) -> str:
    """What OVN does with such a packet."""
    world.ovn.nbctl("--wait=sb", "sync")
    (from_ip, from_mac), (to_ip, to_mac) = NICS[source], NICS[target]
    return world.ovn.trace(
        f"virtnet:Subnet/{world.namespace}/blue",
        f'inport == "{world.namespace}/{source}.blue" && eth.src == {from_mac} && eth.dst == {to_mac}'
        f" && ip4.src == {from_ip} && ip4.dst == {to_ip} && ip.ttl == 64 && {what}",
    )


async def becomes(world: World, source: str, target: str, *, passing: bool, what: str = SYN) -> None:
    async def so() -> bool:
        return await asyncio.to_thread(passes, world, source, target, what) == passing

    await until(so, f"{source} to {target} ({what}) {'passes' if passing else 'is dropped'}")


async def test_what_a_group_allows_passes_and_nothing_else(world: World) -> None:
    await workloads(world)
    assert passes(world, "web", "db")
    await group(world, "web", egress=None)
    await group(
        world, "db", ingress=[{"peers": [{"securityGroup": "web"}], "ports": [{"protocol": "TCP", "port": 80}]}]
    )
    await name(world, "db", "db")
    await becomes(world, "web", "db", passing=False)
    assert passes(world, "db", "web"), "of what it sends the group says nothing"
    await name(world, "web", "web")
    await becomes(world, "web", "db", passing=True)
    assert not passes(world, "web", "db", "tcp.dst == 81 && tcp.flags == 2")
    assert not passes(world, "web", "db", "icmp4.type == 8")
    assert passes(world, "web", "db", "udp.src == 67 && udp.dst == 68") is False, "no NIC answers as a DHCP server"

    await world.cluster.patch(GROUPS, "db", {"spec": {"ingress": [{"ports": [{"protocol": "ICMP"}]}]}}, world.namespace)
    await becomes(world, "web", "db", passing=True, what="icmp4.type == 8")
    assert not passes(world, "web", "db")
    await name(world, "db")
    await becomes(world, "web", "db", passing=True)


async def test_a_port_that_is_made_anew_is_never_open(world: World) -> None:
    """It is in its group from the transaction on that makes it."""
    await workloads(world)
    await group(world, "db", ingress=[])
    await name(world, "db", "db")
    await becomes(world, "web", "db", passing=False)
    seen: set[str] = set()
    watched = asyncio.create_task(_always_in_a_group(world, seen))
    for number in range(1, 4):

        async def looked_at(ports: int = number) -> bool:
            return watched.done() or len(seen) == ports

        await until(looked_at, "the port, made anew, was looked at")
        world.ovn.nbctl("--if-exists", "lsp-del", f"{world.namespace}/db.blue")
    watched.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watched
    assert not passes(world, "web", "db")


async def _always_in_a_group(world: World, seen: set[str]) -> None:
    """Fails as soon as the database has the port, and it is in no group. ``seen``: the rows that it has been."""
    while True:
        text = await asyncio.to_thread(
            world.ovn.nbctl,
            *(
                "--format=json",
                "--columns=_uuid",
                "find",
                "Logical_Switch_Port",
                f'name="{world.namespace}/db.blue"',
                "--",
            ),
            *("--columns=ports", "list", "Port_Group"),
        )
        port, groups = (json.loads(part) for part in text.strip().splitlines()[:2])
        for (uuid,) in port["data"]:
            assert uuid[1] in json.dumps(groups["data"]), "a port is there, and in no group"
            seen.add(uuid[1])


async def test_a_nic_whose_group_is_not_there_yet_is_shut(world: World) -> None:
    await workloads(world)
    await name(world, "db", "later")
    await becomes(world, "web", "db", passing=False)
    assert not passes(world, "db", "web")

    async def told() -> bool:
        conditions = (await world.ports())["db.blue"].status.conditions
        return any(one.type == "SecurityGroupMissing" and "later" in one.message for one in conditions)

    await until(told, "the Port's condition")
    await group(world, "later", ingress=[{}])
    await becomes(world, "web", "db", passing=True)


async def test_the_groups_of_a_subnet_are_for_nics_that_name_none(world: World) -> None:
    await workloads(world, securityGroups=["shut"])
    await group(world, "shut", ingress=[])
    await group(world, "open", ingress=[{}])
    await becomes(world, "web", "db", passing=False)
    await name(world, "db", "open")
    await becomes(world, "web", "db", passing=True)
    await world.cluster.delete(GROUPS, "shut", world.namespace)

    async def waits() -> bool:
        found = SecurityGroup.parse(await world.cluster.get(GROUPS, "shut", world.namespace))
        return any("1 Subnets" in one.message for one in found.status.conditions if one.type == "Deleting")

    await until(waits, "who names it")
    await world.cluster.patch(SUBNETS, "blue", {"spec": {"securityGroups": None}}, world.namespace)
    await until_gone(world.cluster, GROUPS, "shut", world.namespace)


async def test_no_tenant_overrides_an_administrator(world: World) -> None:
    await workloads(world)
    await group(world, "open", ingress=[{}], egress=[{}])
    await name(world, "db", "open")
    body = {"apiVersion": API, "kind": "ClusterSecurityGroup", "metadata": {"name": f"guard-{world.namespace}"}}
    spec = {
        "selector": {},
        "allowedNamespaces": [world.namespace],
        "ingress": [{"action": "Deny", "ports": [{"protocol": "TCP", "port": 80}]}, {}],
    }
    await world.cluster.create(CLUSTER_GROUPS, {**body, "spec": spec})
    await becomes(world, "web", "db", passing=False)
    assert passes(world, "web", "db", "tcp.dst == 81 && tcp.flags == 2")
    await world.cluster.delete(CLUSTER_GROUPS, f"guard-{world.namespace}")
    await becomes(world, "web", "db", passing=True)


async def test_nics_without_rules_meet_no_connection_tracker(world: World) -> None:
    await workloads(world)
    await group(world, "db", ingress=[{}])
    await name(world, "db", "db")

    async def tracked() -> bool:
        return "ct_next" in trace(world, "web", "db")

    await until(tracked, "the guarded NIC's packets are tracked")
    assert "ct_next" not in trace(world, "web", "web"), "those between others are not"

"""What admission has not seen, say because it was not there yet: the controller asks the same rule, and then the leases."""

import json
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from tests.controllers.conftest import World, central, controller, settled, until, world
from virtnet.api.names import ATTACHED_LABEL, ATTACHMENTS, PINNED
from virtnet.kube.kinds import NAMESPACES, PODS, VMS
from virtnet.topology.names import part, router_mac, switch_key

__all__ = ["central", "controller", "world"]

MAC = "02:00:00:00:00:99"


@pytest.fixture
async def victim(world: World) -> World:
    """Another tenant, whose VM ``db`` has 10.0.0.5 of its own Subnet ``blue``."""
    name = f"v{uuid4().hex[:8]}"
    await world.cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    found = replace(world, namespace=name)
    await found.subnet()
    await found.vm()
    await settled(found)
    return found


def nic(of: World, *addresses: str, mac: str = MAC) -> dict[str, Any]:
    return {"nad": "a/b", "subnet": of.blue.model_dump(exclude_defaults=True), "mac": mac, "addresses": addresses}


async def stands(victim: World, world: World, *, rows: dict[str, str]) -> None:
    """After whatever was looked at before a VM that comes now: the victim is as it was, and the attacker has this."""
    await world.vm("last", "10.0.0.200", "02:76:6e:00:00:c8")
    last = {f"{world.namespace}/last.blue": "02:76:6e:00:00:c8 10.0.0.200"}

    async def written() -> bool:
        return world.lsps() == {**rows, **last}

    await until(written, f"{world.namespace} has {rows} in OVN and nothing else")
    await settled(victim)
    assert {port for port in await world.ports() if port != "last.blue"} == {one.partition("/")[2] for one in rows}
    words = {address for security in rows.values() for address in security.split()}
    assert set(await world.leases()) == {*words, "10.0.0.200", "02:76:6e:00:00:c8"}


@pytest.mark.parametrize("mac", [MAC, "02:76:6e:00:00:05"], ids=["a MAC of its own", "the victim's MAC"])
@pytest.mark.parametrize("address", ["10.0.0.1", "10.0.0.99", "10.0.0.5"], ids=["gateway", "free", "the victim's"])
async def test_a_record_in_anothers_subnet(world: World, victim: World, address: str, mac: str) -> None:
    await world.subnet()
    await write(world, nic(victim, address, mac=mac))
    await stands(victim, world, rows={})


@pytest.mark.parametrize(
    "addresses",
    [("10.0.0.1",), ("10.0.0.0",), ("10.0.0.255",), ("10.9.0.5",), ("0.0.0.0/1", "128.0.0.0/1"), (), ("10.0.0.7", "10.0.0.8")],
    ids=["gateway", "network", "broadcast", "outside", "everything", "nothing", "two"],
)  # fmt: skip
async def test_a_record_that_admission_would_refuse(world: World, victim: World, addresses: tuple[str, ...]) -> None:
    await world.subnet()
    await write(world, nic(world, *addresses))
    await stands(victim, world, rows={})


@pytest.mark.parametrize("whose", ["the router's", "routers' by VRRP"])
async def test_a_record_with_a_mac_that_admission_would_refuse(world: World, victim: World, whose: str) -> None:
    await world.subnet()
    router = router_mac(part("Logical_Router_Port", switch_key(world.blue), "gateway"))
    await write(world, nic(world, "10.0.0.7", mac=router if "VRRP" not in whose else "00:00:5e:00:01:0a"))
    await stands(victim, world, rows={})


async def test_a_record_that_changes_while_the_guest_has_its_port(world: World, victim: World) -> None:
    await world.subnet()
    await world.vm()
    await settled(world)
    for forged in (nic(world, "10.0.0.1"), nic(victim, "10.0.0.5"), nic(world, "0.0.0.0/1")):
        await world.cluster.patch(
            VMS, "db", {"metadata": {"annotations": {PINNED: text(world, forged)}}}, world.namespace
        )
    await world.vm("other", "10.0.0.9", "02:76:6e:00:00:09")
    port = f"{world.namespace}/db.blue"

    async def there() -> bool:
        return f"{world.namespace}/other.blue" in world.lsps()

    await until(there, "a VM that came later")
    assert world.lsps().get(port, "02:76:6e:00:00:05 10.0.0.5") == "02:76:6e:00:00:05 10.0.0.5"
    assert set(await world.leases()) <= {"10.0.0.5", "02:76:6e:00:00:05", "10.0.0.9", "02:76:6e:00:00:09"}
    await settled(victim)


async def test_a_pod_that_speaks_for_anothers_port(world: World, victim: World) -> None:
    await world.subnet()
    for number, port in enumerate((f"{victim.namespace}/db.blue", f"{victim.namespace}/new.blue")):
        await pod(world, f"forged-{number}", port, nic(world, f"10.0.0.7{number}", mac=f"02:00:00:00:00:7{number}"))
    await stands(victim, world, rows={})


async def test_a_pod_with_addresses_that_admission_would_refuse(world: World, victim: World) -> None:
    await world.subnet()
    forged = [nic(world, "10.0.0.1"), nic(victim, "10.0.0.99"), nic(victim, "10.0.0.5", mac="02:76:6e:00:00:05")]
    underlay = {"providerNetwork": "rack"}
    forged += [nic(world), {**nic(world), "underlay": underlay}, {**nic(victim), "underlay": underlay}]
    for number, one in enumerate(forged):
        await pod(world, f"forged-{number}", f"{world.namespace}/forged-{number}.net1", one)
    await stands(victim, world, rows={})


def text(of: World, pinned: dict[str, Any]) -> str:
    return json.dumps({"vm": f"{of.namespace}/db", "nics": {"blue": pinned}})


async def write(of: World, pinned: dict[str, Any]) -> None:
    """VM ``db`` with a record that admission has not made."""
    body = of.manifest("db", "10.0.0.5", MAC)
    body["metadata"]["annotations"][PINNED] = text(of, pinned)
    await of.cluster.create(VMS, body, of.namespace)


async def pod(of: World, name: str, port: str, one: dict[str, Any]) -> None:
    addresses = [f"{address}/24" for address in one["addresses"]]
    marks = {"net1": {**one, "addresses": addresses, "port": port, "network": "net1", "mtu": 1442}}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": {ATTACHMENTS: json.dumps(marks)}, "labels": {ATTACHED_LABEL: "true"}},
        "spec": {"containers": [{"name": "c", "image": "x"}]},
    }
    await of.cluster.create(PODS, body, of.namespace)

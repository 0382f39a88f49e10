"""The controller on real servers: VMs and pods become Ports with leases, and all of it goes when they go."""

from typing import Any

import pytest

from tests.controllers.conftest import BOUND, LEASES, SUBNETS, World, gone, settled, until
from virtnet.api import Route, Subnet, Vpc
from virtnet.api.lease import lease_name
from virtnet.api.meta import API_VERSION
from virtnet.kube import kinds
from virtnet.kube.kinds import IPAM_CLAIMS, PODS, STATEFUL_SETS, VMS

pytestmark = pytest.mark.system


async def test_a_vm_becomes_a_port_and_goes_without_a_trace(world: World) -> None:
    await world.subnet()
    await world.vm()
    await settled(world)
    port = (await world.ports())["db.blue"]
    assert (port.spec.mac_address, port.spec.addresses) == ("02:76:6e:00:00:05", ("10.0.0.5",))
    await world.cluster.delete(VMS, "db", world.namespace)
    await gone(world)
    assert await cooling(world) == ["10.0.0.5"]
    body = await world.cluster.get(SUBNETS, "blue", world.namespace)
    assert [one.port for one in Subnet.parse(body).status.cooling] == [f"{world.namespace}/db.blue"]


async def cooling(world: World) -> list[str]:
    """Addresses that were freed lately."""
    body = await world.cluster.get(SUBNETS, "blue", world.namespace)
    return [one.address for one in Subnet.parse(body).status.cooling]


async def test_leases_stay_until_the_last_pod_is_gone(world: World) -> None:
    await world.subnet()
    await world.vm()
    await world.launcher("launcher")
    await settled(world)

    async def pinned_to_node() -> bool:
        return world.option("db.blue", "requested-chassis") == "ch1"

    await until(pinned_to_node, "the port on the pod's chassis")
    await world.cluster.delete(VMS, "db", world.namespace)
    await world.vm("other", "10.0.0.6", "02:76:6e:00:00:06")

    async def other_is_there() -> bool:
        return (await world.leases()).get("10.0.0.6") == "Bound"

    await until(other_is_there, "a later VM handled, so the deletion was seen")
    assert (await world.leases())["10.0.0.5"] == "Bound"
    await world.cluster.patch(
        PODS, "launcher", {"status": {"phase": "Succeeded"}}, world.namespace, subresource="status"
    )
    await world.cluster.delete(VMS, "other", world.namespace)
    await gone(world)


async def test_a_nic_with_routes_of_its_own_has_dhcp_options_of_its_own(world: World) -> None:
    """They follow its VM's manifest and its Subnet, and go with it."""

    def dhcp_options() -> str:
        uuid = world.column("db.blue", "dhcpv4_options")
        # Between the two questions they may have been exchanged.
        return world.ovn.nbctl("--if-exists", "get", "DHCP_Options", uuid, "options") if uuid != "[]" else ""

    async def record(**nic: Any) -> None:
        manifest = world.manifest("db", "10.0.0.5", "02:76:6e:00:00:05", **nic)
        annotations = {"annotations": manifest["metadata"]["annotations"]}
        await world.cluster.patch(VMS, "db", {"metadata": annotations}, world.namespace)

    async def tells(*texts: str) -> bool:
        return all(text in dhcp_options() for text in texts) if world.lsps() else False

    await world.subnet()
    await world.vm()
    await until(lambda: tells('router="10.0.0.1"'), "the options of its Subnet")
    shared = world.column("db.blue", "dhcpv4_options")
    await record(routes=(Route(destination="192.168.0.0/16", gateway="10.0.0.9"),), default_route=False)
    await until(lambda: tells('classless_static_route="{192.168.0.0/16,10.0.0.9}"'), "its own")
    own = world.column("db.blue", "dhcpv4_options")
    assert own != shared
    assert "router" not in dhcp_options()
    await world.cluster.patch(SUBNETS, "blue", {"spec": {"mtu": 1400}}, world.namespace)
    await until(lambda: tells('mtu="1400"'), "what its Subnet says of all")
    await record()
    await until(lambda: tells('router="10.0.0.1"'), "the options of its Subnet again")
    assert own not in world.ovn.nbctl("--columns=_uuid", "--bare", "list", "DHCP_Options")
    await record(default_route=False)

    async def tells_no_router() -> bool:
        return "router" not in dhcp_options()

    await until(tells_no_router, "no default route")
    await world.cluster.delete(VMS, "db", world.namespace)
    await gone(world)
    rows = world.ovn.nbctl("--columns=external_ids", "--bare", "list", "DHCP_Options")
    assert f"Port/{world.namespace}" not in rows


async def test_a_stateful_sets_pod_has_its_addresses_again_until_it_is_scaled_down(world: World) -> None:
    await world.subnet()
    await world.stateful_set("web", replicas=2)
    await world.member("web", 1)

    async def there() -> bool:
        return (
            world.lsps() == {f"{world.namespace}/web-1.net1": "02:76:6e:00:00:05 10.0.0.5"}
            and await world.leases() == BOUND
        )

    await until(there, "the pod's port in OVN and its leases bound")
    await world.cluster.delete(PODS, "web-1", world.namespace)
    await world.vm("other", "10.0.0.6", "02:76:6e:00:00:06")

    async def other_is_there() -> bool:
        return (await world.leases()).get("10.0.0.6") == "Bound"

    await until(other_is_there, "a later VM handled, so the deletion was seen")
    assert (await world.leases())["10.0.0.5"] == "Bound"
    assert "web-1.net1" in await world.ports()
    await world.member("web", 1)
    await world.cluster.delete(VMS, "other", world.namespace)
    await until(there, "all as it was")
    await world.cluster.delete(PODS, "web-1", world.namespace)
    await world.cluster.patch(STATEFUL_SETS, "web", {"spec": {"replicas": 1}}, world.namespace)
    await gone(world)


async def test_a_nic_in_another_subnet_leaves_nothing_in_the_one_before(world: World) -> None:
    """Whatever it takes along: its MAC always, and its address where the other one lies in another Vpc."""
    await world.subnet()
    await world.vm()
    await settled(world)
    teal, vpc = {"metadata": {"name": "teal"}}, {"kind": "Vpc", "name": "teal"}
    await world.cluster.create(kinds.of(Vpc), {"apiVersion": API_VERSION, "kind": "Vpc", **teal}, world.namespace)
    body = {"apiVersion": API_VERSION, "kind": "Subnet", **teal, "spec": {"cidrs": ["10.0.0.0/24"], "vpc": vpc}}
    await world.cluster.create(SUBNETS, body, world.namespace)
    moved = world.blue.model_copy(update={"name": "teal"})
    manifest = world.manifest("db", "10.0.0.5", "02:76:6e:00:00:05", subnet=moved)
    await world.cluster.patch(
        VMS, "db", {"metadata": {"annotations": manifest["metadata"]["annotations"]}}, world.namespace
    )
    names = {lease_name(address, moved) for address in BOUND}

    async def only_there() -> bool:
        items, _ = await world.cluster.list(LEASES)
        here = [one for one in items if one["spec"]["holder"]["namespace"] == world.namespace]
        return {one["metadata"]["name"] for one in here} == names

    await until(only_there, "leases of the Subnet that its NIC is in now, and no others")
    assert world.lsps() == {f"{world.namespace}/db.blue": "02:76:6e:00:00:05 10.0.0.5"}
    await world.cluster.delete(SUBNETS, "blue", world.namespace)

    async def is_gone() -> bool:
        items, _ = await world.cluster.list(SUBNETS, world.namespace)
        return [one["metadata"]["name"] for one in items] == ["teal"]

    await until(is_gone, "the Subnet before, which nobody uses")


async def test_a_subnet_that_names_no_vpc_lies_in_its_namespaces_own(world: World) -> None:
    """Which is made for it."""
    body = {"apiVersion": API_VERSION, "kind": "Subnet", "metadata": {"name": "blue"}}
    await world.cluster.create(SUBNETS, {**body, "spec": {"cidrs": ["10.0.0.0/24"]}}, world.namespace)

    async def served() -> bool:
        found = Subnet.parse(await world.cluster.get(SUBNETS, "blue", world.namespace))
        return any((one.type, one.status) == ("Ready", "True") for one in found.status.conditions)

    await until(served, "the Subnet served")
    found = Subnet.parse(await world.cluster.get(SUBNETS, "blue", world.namespace))
    assert found.spec.vpc.key(world.namespace) == f"{world.namespace}/default"
    await world.cluster.get(kinds.of(Vpc), "default", world.namespace)


async def test_an_ipam_claim_is_told_what_its_nic_has(world: World) -> None:
    """Made before the pod or after it; what somebody else writes there does not stand."""
    await world.subnet()
    await world.vm()
    await world.launcher("launcher", claim="db.blue")
    body = {"apiVersion": "k8s.cni.cncf.io/v1alpha1", "kind": "IPAMClaim", "metadata": {"name": "db.blue"}}
    claim = {**body, "spec": {"network": "blue-net", "interface": ""}}
    await world.cluster.create(IPAM_CLAIMS, claim, world.namespace)

    async def recorded() -> bool:
        found = await world.cluster.get(IPAM_CLAIMS, "db.blue", world.namespace)
        status = found.get("status", {})
        return (status.get("ips"), status.get("ownerPod")) == (["10.0.0.5/24"], {"name": "launcher"})

    await until(recorded, "the claim told")
    other = {"status": {"ips": ["10.0.0.9/24"]}}
    await world.cluster.patch(IPAM_CLAIMS, "db.blue", other, world.namespace, subresource="status")
    await until(recorded, "the claim told again")
    await world.cluster.delete(IPAM_CLAIMS, "db.blue", world.namespace)
    assert (await world.leases())["10.0.0.5"] == "Bound"


async def test_the_subnet_says_how_full_it_is(world: World) -> None:
    """Of ten addresses one is leased, and one is kept for a VM that is not there yet."""
    await world.subnet(ranges=["10.0.0.10-10.0.0.19"], reservations=[{"address": "10.0.0.15", "vm": "later"}])
    await world.vm(address="10.0.0.12")

    async def status() -> tuple[int, int | None, str]:
        parsed = Subnet.parse(await world.cluster.get(SUBNETS, "blue", world.namespace))
        ready = next((c.status for c in parsed.status.conditions if c.type == "Ready"), "")
        return (parsed.status.used, parsed.status.available, ready)

    async def counted() -> bool:
        return await status() == (1, 8, "True")

    await until(counted, "the Subnet's counters")
    assert Subnet.parse(await world.cluster.get(SUBNETS, "blue", world.namespace)).status.gateways == ("10.0.0.1",)


async def test_an_address_of_another_keeps_the_port_out_of_ovn(world: World) -> None:
    await world.subnet()
    await world.vm()
    await settled(world)
    await world.vm("thief", "10.0.0.5", "02:76:6e:00:00:99", leased=False)

    async def conflict() -> str:
        port = (await world.ports()).get("thief.blue")
        message = next((c.message for c in port.status.conditions), "") if port else ""
        return message if port and port.status.phase == "Conflict" else ""

    message = await until(conflict, "the second VM's port in conflict")
    assert f"10.0.0.5 is held by VM {world.namespace}/db, NIC blue" in message
    assert list(world.lsps()) == [f"{world.namespace}/db.blue"]


async def test_a_lost_lease_comes_back_without_touching_the_port(world: World) -> None:
    await world.subnet()
    await world.vm()
    await settled(world)
    name = lease_name("10.0.0.5", world.blue)
    uid = (await world.cluster.get(LEASES, name))["metadata"]["uid"]
    await world.cluster.delete(LEASES, name)

    async def claimed_anew() -> bool:
        found, _ = await world.cluster.list(LEASES, fields=f"metadata.name={name}")
        return bool(found) and found[0]["metadata"]["uid"] != uid

    await until(claimed_anew, "the lease claimed anew")
    await settled(world)


async def test_a_reserved_lease_whose_vm_never_came_is_kept_for_a_while(world: World) -> None:
    await world.subnet()
    await world.lease("ghost", "10.0.0.9")
    name = lease_name("10.0.0.9", world.blue)
    uid = (await world.cluster.get(LEASES, name))["metadata"]["uid"]
    await world.vm()
    await settled_with_ghost(world)
    await world.vm("ghost", "10.0.0.9", "02:76:6e:00:00:09", leased=False)

    async def taken() -> bool:
        return (await world.leases()).get("10.0.0.9") == "Bound"

    await until(taken, "the lease bound to the VM that came after all")
    assert (await world.cluster.get(LEASES, name))["metadata"]["uid"] == uid, "freed, and claimed anew"
    assert await cooling(world) == []


async def settled_with_ghost(world: World) -> None:
    async def there() -> bool:
        return await world.leases() == {**BOUND, "10.0.0.9": "Reserved"}

    await until(there, "the VM's leases bound, the young ghost's still reserved")


async def test_a_conflict_ends_with_the_other_holder(world: World) -> None:
    await world.subnet()
    await world.vm()
    await settled(world)
    await world.vm("heir", "10.0.0.5", "02:76:6e:00:00:99", leased=False)

    async def conflict() -> bool:
        port = (await world.ports()).get("heir.blue")
        return port is not None and port.status.phase == "Conflict"

    await until(conflict, "the second VM's port in conflict")
    await world.cluster.delete(VMS, "db", world.namespace)

    async def inherited() -> bool:
        return world.lsps() == {f"{world.namespace}/heir.blue": "02:76:6e:00:00:99 10.0.0.5"}

    await until(inherited, "the second VM's port in OVN")

"""A VMI that no VM has made: its Ports say whose they are."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from tests.controllers.conftest import LEASES, SECONDS, until
from tests.safety.tenants import ATTACKER, Body, Scene, vm
from virtnet.api import AddressLease, Port
from virtnet.api.guest import GuestDhcp
from virtnet.api.meta import uid_of
from virtnet.api.multus import NETWORKS
from virtnet.api.names import CLAIM, pod_interface
from virtnet.controllers.ownership import RESERVED_FOR
from virtnet.kube.kinds import PODS, VMIS, VMS


def launcher(instance: Body, number: int = 0) -> Body:
    """The pod that KubeVirt makes for a VMI."""
    metadata = instance["metadata"]
    owner = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "controller": True}
    networks = f"shared-net@{pod_interface('shared')}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"virt-launcher-{metadata['name']}-{number}",
            "annotations": {NETWORKS: networks},
            "ownerReferences": [{**owner, "name": metadata["name"], "uid": metadata["uid"]}],
        },
        "spec": {"containers": [{"name": "c", "image": "c"}]},
    }


async def free_standing(scene: Scene, name: str, **more: Any) -> Body:
    """``more``: further fields of its spec, and the DHCP options of its NIC."""
    spec = vm(name)["spec"]["template"]["spec"]
    options = more.pop("dhcp_options", {})
    spec |= more
    if options:
        spec["domain"]["devices"]["interfaces"][0]["dhcpOptions"] = options
    body = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": name}, "spec": spec}
    return await scene.admin.create(VMIS, body, ATTACKER)


async def test_its_guest_is_told_what_it_asks_dhcp_for(scene: Scene) -> None:
    name = f"booted-{uuid4().hex[:8]}"
    instance = await free_standing(scene, name, hostname="web", dhcp_options={"bootFileName": "boot.ipxe"})
    await scene.admin.create(PODS, launcher(instance), ATTACKER)

    async def told() -> GuestDhcp | None:
        port = (await scene.ports(ATTACKER)).get(f"{ATTACKER}/{name}.shared")
        return port.spec.dhcp if port else None

    assert await until(told, "the Port") == GuestDhcp(hostname="web", boot_file_name="boot.ipxe")
    await scene.in_ovn(f"{ATTACKER}/{name}.shared")
    options = scene.ovn.nbctl("--bare", "--columns=options", "find", "DHCP_Options").replace('"', "")
    assert "bootfile_name=boot.ipxe" in options
    await scene.admin.delete(PODS, f"virt-launcher-{name}-0", ATTACKER)


async def test_its_ports_are_its_own(scene: Scene) -> None:
    name = f"alone-{uuid4().hex[:8]}"
    instance = await free_standing(scene, name)
    await scene.admin.create(PODS, launcher(instance), ATTACKER)

    async def there() -> Port | None:
        return (await scene.ports(ATTACKER)).get(f"{ATTACKER}/{name}.shared")

    port: Port = await until(there, "the Port")
    assert (port.spec.owner.kind, port.spec.owner.name) == ("VirtualMachineInstance", name)
    await scene.in_ovn(port.key)
    await scene.admin.delete(PODS, f"virt-launcher-{name}-0", ATTACKER)

    async def gone() -> bool:
        return f"{ATTACKER}/{name}.shared" not in (await scene.leases()).values()

    await until(gone, "its leases are freed when its pod is gone")


async def marked(scene: Scene, port: str) -> set[str]:
    """The claims on leases of a Port that were claimed again."""
    bodies, _ = await scene.admin.list(LEASES)
    every = (AddressLease.parse(body) for body in bodies)
    return {one.metadata.annotations.get(CLAIM, "") for one in every if one.spec.holder.key == port}


async def bound(scene: Scene, port: str) -> bool:
    bodies, _ = await scene.admin.list(LEASES)
    found = [one for body in bodies if (one := AddressLease.parse(body)).spec.holder.key == port]
    return bool(found) and all(one.status.phase == "Bound" for one in found)


async def until_freed(scene: Scene, port: str) -> None:
    async def gone() -> bool:
        return port not in (await scene.leases()).values()

    assert timedelta(seconds=SECONDS) < RESERVED_FOR
    await until(gone, f"the leases of {port} are freed")


async def test_what_two_of_its_pods_claimed_is_freed_with_the_last(scene: Scene) -> None:
    """A VMI without a VM claims with each of its pods: what it was leased waits for none of them any more."""
    name = f"twice-{uuid4().hex[:8]}"
    port, instance = f"{ATTACKER}/{name}.shared", await free_standing(scene, name)
    for number in range(2):
        await scene.admin.create(PODS, launcher(instance, number), ATTACKER)
        await until(lambda: bound(scene, port), "its leases are bound")
    assert "" not in await marked(scene, port)
    for number in range(2):
        assert port in (await scene.leases()).values()
        await scene.admin.delete(PODS, f"virt-launcher-{name}-{number}", ATTACKER)
    await until_freed(scene, port)


async def test_what_a_vm_made_again_claimed_is_freed_with_it(scene: Scene) -> None:
    """It takes its leases over from the one before, whose pod still has them."""
    name = f"again-{uuid4().hex[:8]}"
    port = f"{ATTACKER}/{name}.shared"
    first = await scene.admin.create(VMS, vm(name), ATTACKER)
    await until(lambda: bound(scene, port), "its leases are bound")
    await scene.admin.create(PODS, launcher(first), ATTACKER)
    await scene.admin.delete(VMS, name, ATTACKER)
    await scene.admin.create(VMS, vm(name), ATTACKER)
    assert "" not in await marked(scene, port)
    await scene.admin.delete(PODS, f"virt-launcher-{name}-0", ATTACKER)

    async def taken_over() -> bool:
        own = uid_of(await scene.admin.get(VMS, name, ATTACKER))
        bodies, _ = await scene.admin.list(LEASES)
        found = [one for body in bodies if (one := AddressLease.parse(body)).spec.holder.key == port]
        return all(one.status.owner_uid == own for one in found)

    await until(taken_over, "its leases are its own")
    await scene.admin.delete(VMS, name, ATTACKER)
    await until_freed(scene, port)

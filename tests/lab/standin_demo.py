"""A namespace of the stand-in's lab, one VM in it, and everything that happens to its objects."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from tests.lab.milestones import RECORDED, milestones
from virtnet.kube.client import Cluster
from virtnet.kube.errors import Conflict
from virtnet.kube.kinds import PODS, VMIMS, VMIS, VMS, Kind

SECONDS = 60
Object = dict[str, Any]


class Demo:
    """A namespace with a network, and all that happens to one VM in it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.seen: list[tuple[str, str, Object]] = []
        self._news = asyncio.Event()

    async def follow(self, kind: Kind) -> None:
        async with aclosing(self.cluster.watch(kind, self.namespace)) as changes:
            async for change, thing in changes:
                if change == "SYNC":
                    continue
                for one in thing["items"] if change == "LISTED" else (thing,):
                    self.seen.append((change, one["kind"], one))
                self._news.set()

    async def until(self, wanted: Callable[[str, str, Object], bool]) -> Object:
        async with asyncio.timeout(SECONDS):
            while True:
                self._news.clear()
                for change, kind, thing in self.seen:
                    if wanted(change, kind, thing):
                        return thing
                await self._news.wait()

    async def phase(self, kind: str, phase: str, name: str = "") -> Object:
        return await self.until(
            lambda change, its, thing: (
                its == kind
                and thing.get("status", {}).get("phase") == phase
                and name in {"", thing["metadata"]["name"]}
            )
        )

    async def gone(self, kind: str, name: str) -> Object:
        return await self.until(
            lambda change, its, thing: change == "DELETED" and its == kind and thing["metadata"]["name"] == name
        )

    async def milestones(self, uid: str) -> dict[str, int]:
        """All of a migration's; the last of them comes after its end."""
        async with asyncio.timeout(SECONDS):
            while True:
                self._news.clear()
                found = milestones([thing for change, _, thing in self.seen if change != "DELETED"], uid)
                if set(found) == set(RECORDED):
                    return found
                await self._news.wait()

    async def pods(self) -> list[Object]:
        return (await self.cluster.list(PODS, self.namespace))[0]

    async def start_vm(self, name: str = "vm1", *, grace: int = 0, **annotations: str) -> Object:
        """``grace``: its termination period, in seconds. ``annotations``: of its template, without their domain."""
        body = vm(name, self.namespace, grace=grace)
        given = {f"lab.virtnet.dev/{key.replace('_', '-')}": text for key, text in annotations.items()}
        body["spec"]["template"]["metadata"]["annotations"] = given
        await self.cluster.create(VMS, body, self.namespace)
        return await self.phase("VirtualMachineInstance", "Running", name)

    async def change_nics(self, change: Callable[[Object, Object], object]) -> None:
        """``change(devices, spec)`` of the VM's template, as a person's client writes it: again after a conflict."""
        body = await self.cluster.get(VMS, "vm1", self.namespace)
        spec = body["spec"]["template"]["spec"]
        change(spec["domain"]["devices"], spec)
        try:
            await self.cluster.replace(VMS, "vm1", body, self.namespace)
        except Conflict:
            await self.change_nics(change)

    async def evict(self) -> None:
        """What virt-api makes of the eviction of a launcher pod; virt-controller answers it with a migration."""
        vmi = await self.cluster.get(VMIS, "vm1", self.namespace)
        patch = {"status": {"evacuationNodeName": vmi["status"]["nodeName"]}}
        await self.cluster.patch(VMIS, "vm1", patch, self.namespace)

    async def migrate(self, name: str, vmi: str = "vm1") -> Object:
        body = {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachineInstanceMigration",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"vmiName": vmi},
        }
        return await self.cluster.create(VMIMS, body, self.namespace)


def vm(name: str, namespace: str, *, grace: int = 0) -> Object:
    blue = {"name": "blue", "bridge": {}, "macAddress": "02:00:00:00:00:01"}
    spec = {
        "domain": {"devices": {"interfaces": [blue]}, "memory": {"guest": "128Mi"}},
        "networks": [{"name": "blue", "multus": {"networkName": "blue-net"}}],
        "terminationGracePeriodSeconds": grace,
    }
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"runStrategy": "Always", "template": {"metadata": {"labels": {"app": name}}, "spec": spec}},
    }

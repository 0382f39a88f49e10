"""A migration as KubeVirt's objects and the nodes show it, and what may disturb the controller in it."""

from collections.abc import Callable
from typing import Any, Self

from tests.controllers.conftest import PORTS, World, until
from virtnet.api import NodeNetwork, Port
from virtnet.api.nic_kinds import EXTERNAL_NICS
from virtnet.kube import kinds
from virtnet.kube.kinds import EVENTS, VMIMS, VMIS

NODES = kinds.of(NodeNetwork)
READY = "2026-01-01T00:00:00Z"


class Migration:
    """KubeVirt and OVN, one step at a time."""

    def __init__(self, world: World, nic: str = "veth") -> None:
        self.world = world
        self.nic = nic
        """The kind of the VM's NIC."""
        self.uid = ""

    @classmethod
    async def of_running_vm(cls, world: World, nic: str = "veth") -> Self:
        found = cls(world, nic)
        await found.start_vm()
        return found

    @property
    def port(self) -> str:
        return f"{self.world.namespace}/db.blue"

    async def start_vm(self) -> None:
        world = self.world
        for number in (1, 2):
            if f"ch{number}" not in world.ovn.sbctl("--bare", "--columns=name", "list", "Chassis").split():
                world.ovn.sbctl("chassis-add", f"ch{number}", "geneve", f"172.31.1.{number}")
        await world.subnet()
        await world.vm(nic=self.nic)
        body = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": "db"}}
        spec: dict[str, Any] = {"domain": {"devices": {}}}
        await world.cluster.create(VMIS, {**body, "spec": spec}, world.namespace)
        await self.vmi({"nodeName": "node1", "phase": "Running"})
        await world.launcher("source", nic=self.nic)
        if self.nic not in EXTERNAL_NICS:
            await self.requested("ch1")
            self.bind("ch1")

    async def vmi(self, status: dict[str, Any]) -> None:
        await self.world.cluster.patch(VMIS, "db", {"status": status}, self.world.namespace)

    async def migrate(self) -> None:
        body = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration", "metadata": {"name": "m"}}
        made = await self.world.cluster.create(VMIMS, {**body, "spec": {"vmiName": "db"}}, self.world.namespace)
        self.uid = made["metadata"]["uid"]
        labels = {"kubevirt.io/migrationJobUID": self.uid}
        await self.world.launcher("target", node="node2", labels=labels, nic=self.nic)

    async def state(self, **fields: Any) -> None:
        await self.vmi(
            {"migrationState": {"migrationUid": self.uid, "sourceNode": "node1", "targetNode": "node2", **fields}}
        )

    async def requested(self, chassis: str) -> None:
        async def so() -> bool:
            return self.world.option("db.blue", "requested-chassis") == chassis

        await until(so, f"requested-chassis={chassis}")

    def bind(self, chassis: str = "", additional: str = "", activated: str = "") -> None:
        """What the chassis write to the southbound database."""
        sbctl = self.world.ovn.sbctl
        sbctl("--timeout=5", "wait-until", "Port_Binding", self.port)
        for column, name in (("chassis", chassis), ("additional_chassis", additional)):
            uuid = sbctl("--bare", "--columns=_uuid", "find", "Chassis", f"name={name}").strip() if name else ""
            sbctl(
                *(
                    ["set", "Port_Binding", self.port, f"{column}={uuid}"]
                    if uuid
                    else ["clear", "Port_Binding", self.port, column]
                )
            )
        if activated:
            sbctl("set", "Port_Binding", self.port, f"options:additional-chassis-activated={activated}")

    async def assignment(self, node: str) -> dict[str, Any]:
        body = await self.world.cluster.get(NODES, node)
        found: dict[str, Any] = body.get("spec", {}).get("handoffs", {}).get(self.port, {})
        return found

    async def record(self) -> Any:
        port = Port.parse(await self.world.cluster.get(PORTS, "db.blue", self.world.namespace))
        return port.status.handoffs[0] if port.status.handoffs else None

    async def events(self) -> list[str]:
        items, _ = await self.world.cluster.list(EVENTS, self.world.namespace)
        return [item["reason"] for item in items if item["regarding"]["name"] == "db"]

    async def report(self, node: str, **fields: Any) -> None:
        """What a node tells of it."""
        answer = {self.port: {"migration": self.uid, **fields}}
        await self.world.cluster.patch(NODES, node, {"status": {"handoffs": answer}}, subresource="status")

    async def over(self, chassis: str, state: str) -> None:
        async def settled() -> bool:
            record = await self.record()
            journal = self.world.ovn.nbctl("get", "Logical_Switch_Port", self.port, "external_ids")
            return record is not None and record.state == state and "handoff" not in journal

        await until(settled, f"the handoff {state}")
        assert self.world.option("db.blue", "requested-chassis") == chassis
        assert self.world.option("db.blue", "activation-strategy") == ""

        async def none_assigned() -> bool:
            return not await self.assignment("node1") and not await self.assignment("node2")

        await until(none_assigned, "the nodes' parts taken back")
        assert f"Handoff{state}" in await self.events()


Disturb = Callable[[World], None]


def nothing(world: World) -> None:
    """Leave the controller alone."""


def kill(world: World) -> None:
    world.controller.kill()
    world.controller.start()


def northd(world: World) -> None:
    world.ovn.kill("northd")
    world.ovn.start("northd")


def southbound(world: World) -> None:
    world.ovn.kill("sb")
    world.ovn.start("sb")

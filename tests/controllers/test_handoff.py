"""A handoff through the real controller, northd and API server; the test plays KubeVirt and the two chassis.

In every state the controller is killed and started again, and goes on as if nothing had been.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.controllers.conftest import PORTS, World, until
from virtnet.api import NodeNetwork, Port
from virtnet.kube import kinds
from virtnet.kube.kinds import EVENTS, PODS, VMIMS, VMIS

pytestmark = pytest.mark.system

NODES = kinds.of(NodeNetwork)
READY = "2026-01-01T00:00:00Z"


class Migration:
    """KubeVirt and OVN, one step at a time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.uid = ""

    @property
    def port(self) -> str:
        return f"{self.world.namespace}/db.blue"

    async def start_vm(self) -> None:
        world = self.world
        for number in (1, 2):
            if f"ch{number}" not in world.ovn.sbctl("--bare", "--columns=name", "list", "Chassis").split():
                world.ovn.sbctl("chassis-add", f"ch{number}", "geneve", f"172.31.1.{number}")
        await world.subnet()
        await world.vm()
        body = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": "db"}}
        spec = {"domain": {"devices": {}}}
        await world.cluster.create(VMIS, {**body, "spec": spec}, world.namespace)
        await self.vmi({"nodeName": "node1", "phase": "Running"})
        await world.launcher("source")
        await self.requested("ch1")
        self.bind("ch1")

    async def vmi(self, status: dict[str, Any]) -> None:
        await self.world.cluster.patch(VMIS, "db", {"status": status}, self.world.namespace)

    async def migrate(self) -> None:
        body = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration", "metadata": {"name": "m"}}
        made = await self.world.cluster.create(VMIMS, {**body, "spec": {"vmiName": "db"}}, self.world.namespace)
        self.uid = made["metadata"]["uid"]
        await self.world.launcher("target", node="node2", labels={"kubevirt.io/migrationJobUID": self.uid})

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

    async def asked(self, node: str) -> dict[str, Any]:
        body = await self.world.cluster.get(NODES, node)
        return body.get("spec", {}).get("handoffs", {}).get(self.port, {})

    async def record(self) -> Any:
        port = Port.parse(await self.world.cluster.get(PORTS, "db.blue", self.world.namespace))
        return port.status.handoffs[0] if port.status.handoffs else None

    async def events(self) -> list[str]:
        items, _ = await self.world.cluster.list(EVENTS, self.world.namespace)
        return [item["reason"] for item in items if item["regarding"]["name"] == "db"]

    async def told(self, node: str, **fields: Any) -> None:
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

        async def nobody_asked() -> bool:
            return not await self.asked("node1") and not await self.asked("node2")

        await until(nobody_asked, "the nodes' parts taken back")
        assert f"Handoff{state}" in await self.events()


@pytest.fixture
async def migration(world: World) -> Migration:
    found = Migration(world)
    await found.start_vm()
    return found


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


@pytest.mark.parametrize("disturb", [nothing, kill, northd, southbound], ids=lambda d: d.__name__)
async def test_the_whole_way(migration: Migration, disturb: Disturb) -> None:
    world = migration.world
    await migration.migrate()
    await migration.requested("ch1,ch2")
    assert world.option("db.blue", "activation-strategy") == "rarp"
    disturb(world)
    migration.bind("ch1", "ch2")
    disturb(world)
    migration.bind("ch1", "ch2", activated="ch2")
    await migration.state(targetNodeDomainReadyTimestamp=READY)

    async def release_asked() -> bool:
        return (await migration.asked("node1")).get("release") is True

    await until(release_asked, "the source asked to let go")
    disturb(world)
    await migration.told("node2", askedAt=READY, answeredAt=READY)
    migration.bind("", "ch2", activated="ch2")
    await migration.requested("ch2")
    disturb(world)
    migration.bind("ch2")
    await migration.over("ch2", "Committed")
    record = await migration.record()
    assert (record.source, record.target, record.migration) == ("node1", "node2", migration.uid)
    assert record.armed_at <= record.domain_ready_at <= record.finished_at
    assert (record.gateless, record.strategy) == ("node2 does not say that it can", "rarp")
    assert "GuestNotAsked" not in await migration.events()


async def test_a_target_with_a_gate_needs_no_strategy(migration: Migration) -> None:
    world = migration.world
    await world.cluster.patch(NODES, "node2", {"status": {"handoff": {"gate": True}}}, subresource="status")
    try:
        await migration.migrate()
        await migration.requested("ch1,ch2")
        assert world.option("db.blue", "activation-strategy") == ""
        migration.bind("ch1", "ch2")
        await migration.told("node2", openedAt=READY)

        async def seen() -> bool:
            record = await migration.record()
            return record is not None and record.activated_at is not None

        await until(seen, "the guest that opened its gate")
        assert not (await migration.asked("node2"))["open"]
        await migration.state(targetNodeDomainReadyTimestamp=READY)

        async def told() -> bool:
            return bool((await migration.asked("node2")).get("open"))

        await until(told, "the target told to hold nothing back")
        migration.bind("", "ch2")
        await migration.requested("ch2")
        migration.bind("ch2")
        await migration.told("node2", askedAt=READY, answeredAt=READY)
        await migration.told("node1", carried=14)
        await migration.over("ch2", "Committed")
        record = await migration.record()
        assert (record.gateless, record.strategy, record.carried) == ("", "", 14)
        assert "14 frames carried over" in record.message
    finally:
        await world.cluster.patch(NODES, "node2", {"status": {"handoff": None}}, subresource="status")


async def test_a_target_without_a_gate_gets_the_strongest_strategy_of_its_ovn(migration: Migration) -> None:
    world = migration.world
    await world.cluster.patch(NODES, "node2", {"status": {"ovnVersion": "25.09.1"}}, subresource="status")
    try:
        await migration.migrate()
        await migration.requested("ch1,ch2")
        assert world.option("db.blue", "activation-strategy") == "rarp,garp,na"
    finally:
        await world.cluster.patch(NODES, "node2", {"status": {"ovnVersion": None}}, subresource="status")


async def test_a_source_that_is_dead_is_not_waited_for_for_ever(migration: Migration) -> None:
    await migration.migrate()
    await migration.requested("ch1,ch2")
    migration.bind("ch1", "ch2", activated="ch2")
    await migration.state(targetNodeDomainReadyTimestamp=READY)
    await migration.requested("ch2")
    migration.bind("ch2")
    await migration.over("ch2", "Committed")
    assert "nobody has asked the guest" in (await migration.record()).message, "nor is its target's node"
    assert "GuestNotAsked" in await migration.events()


async def failed(migration: Migration) -> None:
    await migration.state(failed=True, completed=True)


async def target_gone(migration: Migration) -> None:
    await migration.world.cluster.delete(PODS, "target", migration.world.namespace)
    pod = await migration.world.cluster.get(PODS, "target", migration.world.namespace)
    patch = {"metadata": {"resourceVersion": pod["metadata"]["resourceVersion"]}, "status": {"phase": "Failed"}}
    await migration.world.cluster.patch(PODS, "target", patch, migration.world.namespace, subresource="status")


async def vmim_failed(migration: Migration) -> None:
    status = {"status": {"phase": "Failed"}}
    await migration.world.cluster.patch(VMIMS, "m", status, migration.world.namespace, subresource="status")


@pytest.mark.parametrize("fail", [failed, target_gone, vmim_failed], ids=lambda f: f.__name__)
@pytest.mark.parametrize("disturb", [nothing, kill], ids=lambda d: d.__name__)
async def test_a_migration_that_fails_leaves_the_port_where_it_was(
    migration: Migration, fail: Any, disturb: Disturb
) -> None:
    await migration.migrate()
    await migration.requested("ch1,ch2")
    migration.bind("ch1", "ch2")
    await fail(migration)
    await migration.requested("ch1")
    disturb(migration.world)
    migration.bind("ch1")
    await migration.over("ch1", "RolledBack")


async def test_what_a_deposed_leader_asks_of_a_node_is_taken_back(migration: Migration) -> None:
    async def taken_back() -> bool:
        return not await migration.asked("node2")

    for uid in ("m1", "m2"):  # by the second time the controller has nothing else to look at this port for
        asked = {"spec": {"handoffs": {migration.port: {"migration": uid, "role": "Target"}}}}
        await migration.world.cluster.patch(NODES, "node2", asked)
        await until(taken_back, "the node asked for nothing")


async def test_a_northbound_database_deleted_in_the_middle_comes_back_armed(migration: Migration) -> None:
    await migration.migrate()
    await migration.requested("ch1,ch2")
    migration.world.ovn.kill("nb")
    migration.world.ovn.erase("nb")
    migration.world.ovn.start("nb")
    migration.world.ovn.sbctl("--timeout=5", "wait-until", "Port_Binding", migration.port)
    migration.bind("ch1")
    await migration.requested("ch1,ch2")


async def test_a_deleted_vm_takes_its_handoff_along(migration: Migration) -> None:
    world = migration.world
    await migration.migrate()
    await migration.requested("ch1,ch2")
    for kind, name in ((VMIS, "db"), (kinds.VMS, "db")):
        await world.cluster.delete(kind, name, world.namespace)
    for name in ("source", "target"):
        status = {"status": {"phase": "Succeeded"}}
        await world.cluster.patch(PODS, name, status, world.namespace, subresource="status")

    async def gone() -> bool:
        return world.lsps() == {} and await world.leases() == {} and not await migration.asked("node1")

    await until(gone, "nothing left of the VM and its handoff")

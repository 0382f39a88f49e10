"""One lab, two VMs, and every way in which a migration can end. After each, all parts agree on where everything is."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.labs import running
from virtnet.api import HandoffRecord, Port
from virtnet.kube import kinds
from virtnet.kube.kinds import EVENTS, PODS, VMIMS, VMS
from virtnet.lab.chaos.arena import Arena
from virtnet.lab.chaos.invariants import violations
from virtnet.lab.daemon import Daemon
from virtnet.lab.demo.cluster import until
from virtnet.lab.demo.manifests import NAMESPACE

pytestmark = pytest.mark.lab

PORT = f"{NAMESPACE}/one.blue"
JOB = "kubevirt.io/migrationJobUID"


class Endings(Arena):
    """The arena, and what these tests ask of it."""

    def home(self, vm: str = "one") -> str:
        return str(until(lambda: self.demo.node_of(vm), f"VM {vm} running"))

    def other(self, *taken: str) -> str:
        return next(node for node in self.nodes if node not in taken)

    def record(self, vm: str = "one") -> HandoffRecord | None:
        port = Port.parse(self.ask(lambda cluster: cluster.get(kinds.of(Port), f"{vm}.blue", NAMESPACE)))
        return next(iter(port.status.handoffs), None)

    def migration(self, name: str) -> dict[str, Any]:
        return self.demo.get(VMIMS, name) or {}

    def begin(self, way: str = "", *, vm: str = "one", to: str = "") -> str:
        """A migration that has got as far as its way lets it for certain: to its running phase, where it is slow."""
        name = self.start_migration(vm, to=to or self.other(self.home(vm)), way=way)
        if way == "slow":
            until(lambda: self.migration(name).get("status", {}).get("phase") == "Running", "the migration running")
        return name

    def target_pod(self, name: str) -> dict[str, Any]:
        uid = self.migration(name)["metadata"]["uid"]
        return next(pod for pod in self.launchers("one") if pod["metadata"]["labels"].get(JOB) == uid)

    def ended(self, *states: str, vm: str = "one", node: str = "") -> HandoffRecord:
        """The record of a handoff that ended so, once nothing goes on any more and all is well."""
        self.mend()
        found: list[str] = []

        def well() -> bool:
            found[:] = violations(self)
            return not found

        try:
            until(well, "all well", seconds=60)
        except Exception as problem:
            raise AssertionError(found) from problem
        record = self.record(vm)
        assert record is not None
        assert record.state in states, record
        assert self.home(vm) == (node or self.home(vm))
        return record

    def over(self, vm: str = "one") -> HandoffRecord | None:
        """The last handoff's record, once it has ended."""
        record = self.record(vm)
        return record if record is not None and record.finished_at is not None else None

    def kill_guests(self, *pods: dict[str, Any]) -> None:
        for pod in pods:
            Daemon("qemu", (), self.lab.names.state / "pods" / pod["metadata"]["uid"]).kill()

    def crash(self, node: str) -> None:
        """The node dies with all that runs on it."""
        for daemon in self.nodes[node].daemons.values():
            daemon.kill()
        pods, _ = self.ask(lambda cluster: cluster.list(PODS, NAMESPACE, fields=f"spec.nodeName={node}"))
        self.kill_guests(*pods)

    def back(self, node: str) -> None:
        """It comes back."""
        for name, daemon in self.nodes[node].daemons.items():
            daemon.start()
            if name == "ovs-vswitchd":
                self.nodes[node].address_tunnels()


@pytest.fixture(scope="module")
def lab() -> Iterator[Endings]:
    with running("endings", 3) as lab:
        found = Endings(lab, ("one", "two"))
        found.furnish()
        until(lambda: not violations(found), "all well at first")
        yield found


@pytest.mark.parametrize("way", ["", "post-copy", "unannounced"])
def test_a_migration_that_succeeds(lab: Endings, way: str) -> None:
    source = lab.home()
    to = lab.other(source)
    lab.begin(way, to=to)
    record = lab.ended("Committed", node=to)
    assert (record.source, record.target) == (source, to)
    if way == "unannounced":
        assert record.message.startswith(f"armed {to}")


def test_a_migration_that_fails(lab: Endings) -> None:
    source = lab.home()
    lab.begin("fails")
    lab.ended("RolledBack", node=source)


def test_a_migration_that_is_aborted(lab: Endings) -> None:
    source = lab.home()
    lab.delete(VMIMS, lab.begin("slow"))
    lab.ended("RolledBack", node=source)


def test_the_target_pod_is_deleted(lab: Endings) -> None:
    source = lab.home()
    lab.delete(PODS, lab.target_pod(lab.begin("slow"))["metadata"]["name"])
    lab.ended("RolledBack", node=source)


def test_the_targets_node_dies(lab: Endings) -> None:
    source = lab.home()
    to = next(node for node in lab.nodes if node not in (source, "node3"))
    lab.begin("slow", to=to)
    lab.crash(to)
    until(lab.over, "rolled back without the target's node")
    lab.back(to)
    lab.ended("RolledBack", node=source)


def test_the_sources_node_dies(lab: Endings) -> None:
    if lab.home() == "node3":  # where the pod is that pings
        lab.begin(to="node1")
        lab.ended("Committed", node="node1")
    source = lab.home()
    lab.begin("slow")
    lab.crash(source)
    until(lab.over, "ended without the source's node")
    lab.back(source)
    lab.ended("RolledBack", "Abandoned")  # by what is seen first: the migration's failure, or the instance's


def test_the_migrations_object_is_gone_half_way(lab: Endings) -> None:
    name = lab.begin("slow")
    lab.delete(VMIMS, name)
    lab.ask(lambda cluster: cluster.patch(VMIMS, name, {"metadata": {"finalizers": None}}, NAMESPACE))
    lab.ended("Committed", "RolledBack")  # KubeVirt may have been told to abort it before, and may not


def test_a_guest_that_arrives_frozen_is_told_of(lab: Endings) -> None:
    lab.begin("freezes")
    record = until(lambda: (found := lab.over()) and "answered nothing" in found.message and found, "told to be silent")
    assert record.state == "Committed"
    assert record.activated_at is not None, "QEMU's announcement was heard all the same"
    assert record.answered_at is None
    items, _ = lab.ask(lambda cluster: cluster.list(EVENTS, NAMESPACE))
    assert "GuestSilent" in [item["reason"] for item in items]
    lab.kill_guests(*lab.launchers("one"))
    lab.ended("Committed")


def test_there_and_back_and_on_at_once(lab: Endings) -> None:
    home = lab.home()
    first, second = (node for node in lab.nodes if node != home)
    for to in (first, home, second):
        name = lab.start_migration("one", to=to)  # the next begins when KubeVirt is done, whatever OVN is by then
        until(lambda name=name: lab.migration(name).get("status", {}).get("phase") == "Succeeded", f"moved to {to}")
    lab.ended("Committed", node=second)


def test_two_vms_cross(lab: Endings) -> None:
    one, two = lab.home("one"), lab.home("two")
    if one == two:
        two = lab.other(one)
        lab.begin(vm="two", to=two)
        lab.ended("Committed", vm="two", node=two)
    lab.start_migration("one", to=two)
    lab.start_migration("two", to=one)
    lab.ended("Committed", vm="one", node=two)
    lab.ended("Committed", vm="two", node=one)


def test_a_chassis_that_ovn_does_not_know_is_named_until_it_is_known(lab: Endings) -> None:
    source = lab.home()
    to = lab.other(source, "node3")
    controller = lab.nodes[to].daemons["ovn-controller"]
    controller.kill()
    lab.sbctl("chassis-del", f"chassis-{to}")
    lab.start_migration("one", to=to)
    until(lambda: (found := lab.record()) and "is ovn-controller running" in found.message, "it says what is missing")
    controller.start()
    lab.ended("Committed", node=to)


def test_the_vm_is_deleted_half_way(lab: Endings) -> None:
    lab.begin("slow")
    lab.delete(VMS, "one")
    until(lambda: lab.demo.get(VMS, "one") is None, "the VM gone")
    until(lambda: f"{NAMESPACE}/one.blue" not in lab.nbctl("list", "Logical_Switch_Port"), "its port gone from OVN")
    two = Endings(lab.lab, ("two",))
    until(lambda: not violations(two), "nothing left of it")

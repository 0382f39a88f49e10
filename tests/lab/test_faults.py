"""One lab, one VM that a pod on a third node pings; everything is killed while the VM migrates, and all ends well."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from tests.lab.labs import running
from virtnet.api import AddressLease, Port
from virtnet.kube import kinds
from virtnet.kube.errors import ApiError, NotFound
from virtnet.kube.kinds import EVENTS, PODS, VMIMS, VMIS, VMS
from virtnet.lab import migrate, netns
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import Demo, until
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.demo.probes import answers
from virtnet.lab.lab import Lab

pytestmark = pytest.mark.lab

PORTS = kinds.of(Port)
PROBE = f"{NAMESPACE}/probe"
PORT = f"{NAMESPACE}/app.blue"
NODES = ("node1", "node2")
VICTIMS = ("webhook", "apiserver", "etcd", "standin", "source", "target")
"""The others are killed in each state of a handoff: see test_endings."""


class Box:
    """The lab with its VM."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.demo = Demo(lab)
        self.address = ""

    def start(self) -> None:
        for body in (manifests.namespace(), manifests.subnet(), manifests.nad()):
            self.demo.apply(body)
        self.demo.apply(manifests.probe("node3"))
        self.demo.apply(manifests.vm("app"))
        self.address = self.demo.pinned("app")[0]
        until(lambda: self.demo.node_of("app") and self.demo.pod_runs("probe"), "the VM and the pod running")
        until(self.answers, "the VM answering")

    def answers(self) -> bool:
        return answers(self.lab, PROBE, self.address)

    def nbctl(self, *words: str) -> str:
        return netns.run("ovn-nbctl", f"--db={self.lab.names.northbound}", *words, netns=self.lab.names.central).strip()

    def journal(self) -> dict[str, str]:
        """The handoff's journal in the port's external_ids."""
        with suppress(netns.NetnsError):
            text = self.nbctl(
                "--format=json", "--columns=external_ids", "find", "Logical_Switch_Port", f'name="{PORT}"'
            )
            (row,) = json.loads(text)["data"]
            return {k: v for k, v in row[0][1] if k.startswith("virtnet/handoff-")}
        return {}

    def requested(self) -> str:
        with suppress(netns.NetnsError):
            return self.nbctl("get", "Logical_Switch_Port", PORT, "options:requested-chassis").strip('"')
        return ""

    def phase(self) -> str:
        items, _ = self.lab.ask(lambda cluster: cluster.list(VMIMS, NAMESPACE))
        running = [item.get("status", {}).get("phase", "") for item in items]
        return next((phase for phase in running if phase not in ("Succeeded", "Failed")), "")

    def begin(self, pool: ThreadPoolExecutor) -> "Future[str]":
        """Migrate to the other node."""
        home = self.demo.node_of("app")
        to = next(node for node in NODES if node != home)
        return pool.submit(self.lab.ask, lambda cluster: migrate.migrate(cluster, "app", NAMESPACE, to=to))

    def kill(self, victim: str) -> None:
        """Kill a process and start it again."""
        home = self.demo.node_of("app")
        other = next(node for node in NODES if node != home)
        name = {"source": f"{home}/virtnet", "target": f"{other}/virtnet"}.get(victim, victim)
        daemon = self.lab.daemon(name)
        daemon.kill()
        daemon.start()

    def ended(self) -> list[str]:
        """Processes that do not run."""
        return [name for name, daemon in self.lab.daemons.items() if daemon.pid is None]

    def settled(self) -> bool:
        """One chassis, the right one, without a journal; the VM answers at its address."""
        with suppress(ApiError):
            home = self.demo.node_of("app")
            return (
                bool(home)
                and self.requested() == self.lab.nodes[home].names.chassis
                and not self.journal()
                and self.demo.pinned("app")[0] == self.address
                and self.answers()
            )
        return False

    def events(self) -> list[str]:
        items, _ = self.lab.ask(lambda cluster: cluster.list(EVENTS, NAMESPACE))
        return [item["reason"] for item in items if item["regarding"]["name"] == "app"]

    def leases(self) -> set[str]:
        """The addresses that VMs hold."""
        items, _ = self.lab.ask(lambda cluster: cluster.list(kinds.of(AddressLease)))
        return {item["spec"]["address"] for item in items if item["spec"]["holder"]["owner"]["kind"] != "Pod"}

    def port(self) -> Port:
        return Port.parse(self.lab.ask(lambda cluster: cluster.get(PORTS, "app.blue", NAMESPACE)))


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with running("faults", 3) as lab:
        found = Box(lab)
        found.start()
        yield found


def test_the_guest_got_its_address_and_mtu_by_dhcp(box: Box) -> None:
    def said() -> bool:
        consoles = [path.read_text(errors="replace") for path in box.lab.names.state.glob("**/serial.log")]
        return any(f"virtnet-guest: eth0 {box.address}/24 mtu 1442 up" in text for text in consoles)

    until(said, "the guest's own word of it")


def test_a_migration_hands_the_port_over_and_tells_its_story(box: Box) -> None:
    source = box.demo.node_of("app")
    with ThreadPoolExecutor(1) as pool:
        box.begin(pool).result()
    until(box.settled, "the VM settled on its new node")
    record = box.port().status.handoffs[0]
    assert (record.source, record.state) == (source, "Committed")
    assert record.target == box.demo.node_of("app") != source
    assert None not in (record.armed_at, record.bound_at, record.domain_ready_at, record.finished_at)
    assert "HandoffCommitted" in box.events()
    assert record.fallback_reason == "", "the gate is used, not OVN's strategy"
    assert record.activated_at is not None, "the guest has opened it"
    for node in box.lab.nodes.values():
        assert node.gates() == [], "no gate is left"
    said = (box.lab.nodes[source].names.state / "virtnet.log").read_text()
    assert '"event": "drained"' in said, "what the guest did not read is sent on"
    attached = {name: node.names for name, node in box.lab.nodes.items()}
    claims = netns.run(
        "ovs-vsctl", f"--db={attached[source].ovsdb}", "--bare", "--columns=name", "find", "Interface",
        f'external_ids:iface-id="{PORT}"', netns=attached[source].netns,
    )  # fmt: skip
    assert claims.strip() == "", "the source still claims the port"


@pytest.mark.parametrize("phase", ["Scheduling", "Running"])
@pytest.mark.parametrize("victim", VICTIMS)
def test_killed_during_a_migration(box: Box, victim: str, phase: str) -> None:
    until(box.settled, "the VM settled before")
    with ThreadPoolExecutor(1) as pool:
        moving = box.begin(pool)
        until(lambda: box.phase() in (phase, "") or moving.done(), f"the migration {phase}")
        box.kill(victim)
        with suppress(ApiError, migrate.MigrationFailed):
            moving.result(timeout=90)
    until(box.settled, "the VM settled after", seconds=60)
    assert box.leases() == {box.demo.pinned("app")[1], *box.demo.addresses("app")}
    assert box.ended() == [], "what nobody has killed goes on"


def test_an_aborted_migration_leaves_the_vm_where_it_was(box: Box) -> None:
    until(box.settled, "the VM settled before")
    source = box.demo.node_of("app")
    with ThreadPoolExecutor(1) as pool:
        moving = box.begin(pool)
        until(lambda: bool(box.journal()), "the port armed")

        async def abort(cluster: Any) -> None:
            items, _ = await cluster.list(VMIMS, NAMESPACE)
            for item in items:
                if item.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
                    with suppress(NotFound):
                        await cluster.delete(VMIMS, item["metadata"]["name"], NAMESPACE)

        box.lab.ask(abort)
        with suppress(ApiError, migrate.MigrationFailed):
            moving.result(timeout=60)
    until(box.settled, "the VM settled after", seconds=60)
    record = box.port().status.handoffs[0]
    assert (record.state == "RolledBack") == (box.demo.node_of("app") == source)


def test_the_vm_keeps_talking_with_all_of_virtnet_dead(box: Box) -> None:
    until(box.settled, "the VM settled before")
    ours = ["controller", "webhook", *(f"{node}/virtnet" for node in box.lab.nodes)]
    for name in ours:
        box.lab.daemon(name).kill()
    try:
        assert all(box.answers() for _ in range(20))
    finally:
        for name in ours:
            box.lab.daemon(name).start()
    until(box.settled, "all settled again")


def test_the_whole_northbound_database_is_rebuilt(box: Box) -> None:
    until(box.settled, "the VM settled before")
    before = box.nbctl("--format=json", "--columns=name", "list", "Logical_Switch_Port")
    rows = box.nbctl("--bare", "--columns=name", "list", "Logical_Switch")
    for switch in rows.split():
        box.nbctl("ls-del", switch)
    for router in box.nbctl("--bare", "--columns=name", "list", "Logical_Router").split():
        box.nbctl("lr-del", router)

    def back() -> bool:
        now = box.nbctl("--format=json", "--columns=name", "list", "Logical_Switch_Port")
        return sorted(json.loads(now)["data"]) == sorted(json.loads(before)["data"])

    until(back, "every port back")
    until(box.settled, "the VM settled again")


def test_subnets_of_a_vpc_reach_each_other(box: Box) -> None:
    until(box.settled, "the VM settled before")
    subnet, nad, pod = manifests.subnet(), manifests.nad(), manifests.probe("node2")
    subnet["metadata"]["name"], subnet["spec"] = "green", {"cidrs": ["10.20.0.0/24"]}
    nad["metadata"]["name"] = "green-net"
    nad["spec"]["config"] = nad["spec"]["config"].replace("blue", "green")
    pod["metadata"] |= {"name": "green"}
    network = {"name": "green-net", "default-route": ["10.20.0.1"]}
    pod["metadata"]["annotations"] = {"k8s.v1.cni.cncf.io/networks": json.dumps([network])}
    for body in (subnet, nad, pod):
        box.demo.apply(body)
    until(lambda: box.demo.pod_runs("green"), "the pod of the other Subnet running")
    until(lambda: answers(box.lab, f"{NAMESPACE}/green", box.address), "the VM answering to the other Subnet")
    box.demo.delete_pod("green")


def test_killed_while_a_nic_is_attached(box: Box) -> None:
    box.demo.apply(manifests.vm("late", node="node3"))

    def scheduled() -> bool:
        pods, _ = box.lab.ask(lambda cluster: cluster.list(PODS, NAMESPACE, labels="vm.kubevirt.io/name=late"))
        return any(pod["spec"].get("nodeName") for pod in pods)

    until(scheduled, "the launcher pod scheduled")
    daemon = box.lab.daemon("node3/virtnet")
    daemon.kill()
    daemon.start()
    address = box.demo.pinned("late")[0]
    until(lambda: answers(box.lab, PROBE, address), "the VM answering all the same")
    box.demo.delete_vms("late")


def test_stopped_and_deleted_vms_leave_nothing(box: Box) -> None:
    box.demo.set_run("app", "Halted")
    until(lambda: box.demo.get(VMIS, "app") is None, "the VM stopped")
    assert box.leases() == {box.demo.pinned("app")[1], *box.demo.addresses("app")}, "a stopped VM keeps its addresses"
    until(lambda: box.requested() == "", "any node may have it next")
    box.demo.delete_vms("app")
    until(lambda: box.leases() == set(), "no lease left but the pod's")
    assert box.demo.get(VMS, "app") is None
    assert PORT not in box.nbctl("--bare", "--columns=name", "list", "Logical_Switch_Port")

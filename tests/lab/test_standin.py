"""The stand-in on a real API server, with real guests: it must write what KubeVirt writes, in KubeVirt's order."""

import asyncio
import contextlib
import json
import secrets
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.milestones import RECORDED, milestones, surprises
from tests.lab.standin_lab import StandinLab, standin_lab
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound
from virtnet.kube.kinds import NADS, PODS, VMIMS, VMIS, VMS, Kind
from virtnet.lab.control_plane import ControlPlane
from virtnet.lab.standin.command import run

pytestmark = pytest.mark.lab

SECONDS = 60
TRACE = Path(__file__).parent / "trace"
Object = dict[str, Any]


@pytest.fixture(scope="module")
def lab(api_server: ControlPlane) -> Iterator[StandinLab]:
    with standin_lab(f"si{secrets.token_hex(4)}", api_server.kubeconfig) as running:
        yield running


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
                for one in thing["items"] if change == "SYNC" else (thing,):
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

    async def start_vm(self, name: str = "vm1") -> Object:
        await self.cluster.create(VMS, vm(name, self.namespace), self.namespace)
        return await self.phase("VirtualMachineInstance", "Running", name)

    async def migrate(self, name: str, vmi: str = "vm1") -> Object:
        body = {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachineInstanceMigration",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"vmiName": vmi},
        }
        return await self.cluster.create(VMIMS, body, self.namespace)


@pytest.fixture
async def demo(lab: StandinLab, cluster: Cluster, namespace: str) -> AsyncIterator[Demo]:
    nad = {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "blue-net", "namespace": namespace},
        "spec": {"config": lab.nad_config},
    }
    await cluster.create(NADS, nad, namespace)
    made = Demo(cluster, namespace)
    watches = [asyncio.create_task(made.follow(kind)) for kind in (PODS, VMS, VMIS, VMIMS)]
    yield made
    with contextlib.suppress(NotFound):
        await cluster.delete(VMS, "vm1", namespace)
        await made.gone("VirtualMachine", "vm1")
    for watch in watches:
        watch.cancel()


def vm(name: str, namespace: str) -> Object:
    blue = {"name": "blue", "bridge": {}, "macAddress": "02:00:00:00:00:01"}
    spec = {
        "domain": {"devices": {"interfaces": [blue]}, "memory": {"guest": "128Mi"}},
        "networks": [{"name": "blue", "multus": {"networkName": "blue-net"}}],
    }
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"runStrategy": "Always", "template": {"metadata": {"labels": {"app": name}}, "spec": spec}},
    }


async def test_a_vm_runs_moves_and_stops(lab: StandinLab, demo: Demo):
    vmi = await demo.start_vm()
    interface = vmi["status"]["interfaces"][0]
    assert interface["mac"] == "02:00:00:00:00:01"
    assert interface["ipAddress"] == "10.10.0.5"
    (source,) = await demo.pods()

    uid = (await demo.migrate("m1"))["metadata"]["uid"]
    found = await demo.milestones(uid)
    assert surprises(found) == []

    measured = json.loads((lab.state / "migrations" / f"{uid}.json").read_text())
    assert 0 < measured["pause_ms"] < 500
    assert measured["source"] == source["spec"]["nodeName"] != measured["target"]

    await demo.cluster.patch(VMS, "vm1", {"spec": {"runStrategy": "Halted"}}, demo.namespace)
    await demo.gone("VirtualMachineInstance", "vm1")
    assert await demo.pods() == []
    calls = lab.plugin_calls()
    added, removed = ({tuple(call[1:]) for call in calls if call[0] == name} for name in ("ADD", "DEL"))
    assert added <= removed


async def test_a_migration_is_aborted_before_and_after_the_hand_off(demo: Demo):
    await demo.start_vm()
    await demo.migrate("early")
    await demo.phase("VirtualMachineInstanceMigration", "Scheduling", "early")
    await demo.cluster.delete(VMIMS, "early", demo.namespace)
    await demo.gone("VirtualMachineInstanceMigration", "early")

    await demo.migrate("late")
    await demo.phase("VirtualMachineInstanceMigration", "Running", "late")
    await demo.cluster.delete(VMIMS, "late", demo.namespace)
    gone = await demo.gone("VirtualMachineInstanceMigration", "late")
    recorded = yaml.safe_load((TRACE / "vmi-after-abort.yaml").read_text())["status"]["migrationState"]
    state = gone["status"]["migrationState"]
    assert set(state) == set(recorded)
    same = ("abortRequested", "abortStatus", "completed", "failed", "failureReason", "mode", "migrationConfiguration")
    assert all(state[field] == recorded[field] for field in same)
    aborted = await demo.phase("Pod", "Succeeded", state["targetPod"])
    assert "deletionTimestamp" not in aborted["metadata"]


async def test_a_guest_moves_there_and_back(demo: Demo):
    """The second migration waits until the first one's source is done, and goes back to its node."""
    await demo.start_vm()
    home = (await demo.pods())[0]["spec"]["nodeName"]
    await demo.migrate("there")
    await demo.phase("VirtualMachineInstanceMigration", "Succeeded", "there")
    await demo.migrate("back")
    await demo.phase("VirtualMachineInstanceMigration", "Succeeded", "back")
    vmi = await demo.cluster.get(VMIS, "vm1", demo.namespace)
    assert vmi["status"]["nodeName"] == vmi["metadata"]["labels"]["kubevirt.io/nodeName"] == home
    recorded = yaml.safe_load((TRACE / "vmi-after.yaml").read_text())
    assert set(vmi["status"]["migrationState"]) == set(recorded["status"]["migrationState"])
    vmim = await demo.cluster.get(VMIMS, "back", demo.namespace)
    assert [one["phase"] for one in vmim["status"]["phaseTransitionTimestamps"]] == [
        one["phase"] for one in yaml.safe_load((TRACE / "vmim.yaml").read_text())["status"]["phaseTransitionTimestamps"]
    ]


async def test_a_migration_whose_target_is_killed_fails(demo: Demo):
    await demo.start_vm()
    await demo.migrate("m1")
    await demo.phase("VirtualMachineInstanceMigration", "Running", "m1")
    target = next(pod for pod in await demo.pods() if "kubevirt.io/migrationJobUID" in pod["metadata"]["labels"])
    await demo.cluster.delete(PODS, target["metadata"]["name"], demo.namespace)
    await demo.phase("VirtualMachineInstanceMigration", "Failed", "m1")
    vmi = await demo.cluster.get(VMIS, "vm1", demo.namespace)
    # As in KubeVirt, whoever sees it first says it: virt-controller the pod, or the source's handler the connection.
    said = vmi["status"]["migrationState"]["failureReason"]
    assert said in {"Target pod is down", "query-status: Connection lost"}
    assert vmi["status"]["phase"] == "Running"


async def test_a_vm_is_deleted_while_it_moves(demo: Demo):
    await demo.start_vm()
    await demo.migrate("m1")
    await demo.phase("VirtualMachineInstanceMigration", "PreparingTarget")
    await demo.cluster.delete(VMS, "vm1", demo.namespace)
    await demo.gone("VirtualMachine", "vm1")
    assert await demo.pods() == []
    await demo.gone("VirtualMachineInstanceMigration", "m1")


async def test_guests_and_their_migrations_outlive_the_stand_in(lab: StandinLab, demo: Demo):
    await demo.start_vm()
    await demo.migrate("m1")
    await demo.phase("VirtualMachineInstanceMigration", "Running")
    lab.process.kill()
    lab.process.start()
    await demo.phase("VirtualMachineInstanceMigration", "Succeeded")


async def test_a_failed_add_is_repeated(lab: StandinLab, demo: Demo):
    fail = lab.plugin_log.with_suffix(".log.fail")
    fail.touch()
    await demo.start_vm()
    assert not fail.exists()


async def test_the_target_says_nothing_before_its_guest_runs(lab: StandinLab, demo: Demo):
    """Whatever is sent there with the guest's MAC while it runs on the source takes its traffic away."""
    await demo.start_vm()
    heard = [listen(netns) for netns in lab.nodes]
    uid = (await demo.migrate("m1"))["metadata"]["uid"]
    await demo.phase("VirtualMachineInstanceMigration", "Succeeded")
    await asyncio.sleep(0.3)  # tcpdump hands out what it has seen when its buffer times out
    measured = json.loads((lab.state / "migrations" / f"{uid}.json").read_text())
    for process in heard:
        process.terminate()
    times = [[float(line.split()[0]) for line in process.communicate()[0].split("\n") if line] for process in heard]
    on_target = times[int(measured["target"].removeprefix("node")) - 1]
    assert on_target
    assert min(on_target) >= measured["stop"]


def listen(netns: str) -> subprocess.Popen[str]:
    command = ["tcpdump", "-i", "br0", "-Q", "in", "-tt", "-n", "-l", "ether", "src", "02:00:00:00:00:01"]
    return subprocess.Popen(
        ["ip", "netns", "exec", netns, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


async def test_an_ordinary_pod_gets_its_nics_and_loses_them(lab: StandinLab, demo: Demo):
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "annotations": {"k8s.v1.cni.cncf.io/networks": "blue-net@eth7"}},
        "spec": {"nodeName": "node2", "containers": [{"name": "c", "image": "none"}]},
    }
    uid = (await demo.cluster.create(PODS, body, demo.namespace))["metadata"]["uid"]
    pod = await demo.until(lambda change, kind, thing: ready(thing))
    status = json.loads(pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"])
    assert (status[1]["name"], status[1]["interface"]) == (f"{demo.namespace}/blue-net", "eth7")
    netns = lab.names.pod(uid)
    assert "eth7" in await run("ip", "-n", netns, "link")
    await demo.cluster.delete(PODS, "p", demo.namespace)
    await demo.gone("Pod", "p")
    assert netns not in lab.names.existing_namespaces()


def ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return pod["metadata"]["name"] == "p" and any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions
    )


async def test_a_booted_guest_tells_of_itself_and_obeys_its_power_button(lab: StandinLab, demo: Demo):
    await demo.start_vm()
    vm = await demo.until(lambda change, kind, thing: kind == "VirtualMachine" and agent_connected(thing))
    assert vm["status"]["printableStatus"] == "Running"
    (pod,) = await demo.pods()
    with (lab.state / "pods" / pod["metadata"]["uid"] / "serial.log").open() as console:  # it outlives its file
        await demo.cluster.patch(VMS, "vm1", {"spec": {"runStrategy": "Halted"}}, demo.namespace)
        await demo.gone("VirtualMachineInstance", "vm1")
        assert "virtnet-guest: powering off" in console.read()


def agent_connected(thing: Object) -> bool:
    conditions = thing.get("status", {}).get("conditions", ())
    return any(one["type"] == "AgentConnected" and one["status"] == "True" for one in conditions)

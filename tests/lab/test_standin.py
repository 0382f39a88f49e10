"""The stand-in on a real API server, with real guests: it must write what KubeVirt writes, in KubeVirt's order."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.milestones import surprises
from tests.lab.standin_demo import Demo
from tests.lab.standin_lab import StandinLab
from virtnet.kube.kinds import PODS, VMIMS, VMIS, VMS
from virtnet.lab.standin.command import run

pytestmark = pytest.mark.lab

SECONDS = 60
TRACE = Path(__file__).parent / "trace"
Object = dict[str, Any]


async def test_a_vm_runs_moves_and_stops(standin: StandinLab, demo: Demo) -> None:
    vmi = await demo.start_vm()
    interface = vmi["status"]["interfaces"][0]
    assert interface["mac"] == "02:00:00:00:00:01"
    assert interface["ipAddress"] == "10.10.0.5"
    (source,) = await demo.pods()

    uid = (await demo.migrate("m1"))["metadata"]["uid"]
    found = await demo.milestones(uid)
    assert surprises(found) == []

    measured = json.loads((standin.state / "migrations" / f"{uid}.json").read_text())
    assert 0 < measured["pause_ms"] < 500
    assert measured["source"] == source["spec"]["nodeName"] != measured["target"]

    await demo.cluster.patch(VMS, "vm1", {"spec": {"runStrategy": "Halted"}}, demo.namespace)
    await demo.gone("VirtualMachineInstance", "vm1")
    assert await demo.pods() == []
    calls = standin.plugin_calls()
    added, removed = ({tuple(call[1:]) for call in calls if call[0] == name} for name in ("ADD", "DEL"))
    assert added <= removed


async def test_a_migration_is_aborted_before_and_after_the_hand_off(demo: Demo) -> None:
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


async def test_a_guest_moves_there_and_back(demo: Demo) -> None:
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


async def test_a_migration_whose_target_is_killed_fails(demo: Demo) -> None:
    await demo.start_vm()
    await demo.migrate("m1")
    await demo.phase("VirtualMachineInstanceMigration", "Running", "m1")
    target = next(pod for pod in await demo.pods() if "kubevirt.io/migrationJobUID" in pod["metadata"]["labels"])
    await demo.cluster.delete(PODS, target["metadata"]["name"], demo.namespace)
    await demo.phase("VirtualMachineInstanceMigration", "Failed", "m1")
    vmi = await demo.cluster.get(VMIS, "vm1", demo.namespace)
    # As in KubeVirt, whoever sees it first says it: virt-controller the pod, or the source's handler the connection.
    said = vmi["status"]["migrationState"]["failureReason"]
    assert said in {"Target pod is down", "query-status: Connection lost", "query-status: QEMU is gone"}
    assert vmi["status"]["phase"] == "Running"


async def test_a_vm_is_deleted_while_it_moves(demo: Demo) -> None:
    await demo.start_vm()
    await demo.migrate("m1")
    await demo.phase("VirtualMachineInstanceMigration", "PreparingTarget")
    await demo.cluster.delete(VMS, "vm1", demo.namespace)
    await demo.gone("VirtualMachine", "vm1")
    assert await demo.pods() == []
    await demo.gone("VirtualMachineInstanceMigration", "m1")


async def test_guests_and_their_migrations_outlive_the_stand_in(standin: StandinLab, demo: Demo) -> None:
    await demo.start_vm()
    await demo.migrate("m1")
    await demo.phase("VirtualMachineInstanceMigration", "Running")
    standin.process.kill()
    standin.process.start()
    await demo.phase("VirtualMachineInstanceMigration", "Succeeded")


async def test_a_failed_add_is_repeated(standin: StandinLab, demo: Demo) -> None:
    fail = standin.plugin_log.with_suffix(".log.fail")
    fail.touch()
    await demo.start_vm()
    assert not fail.exists()


async def test_the_target_says_nothing_before_its_guest_runs(standin: StandinLab, demo: Demo) -> None:
    """Whatever is sent there with the guest's MAC while it runs on the source takes its traffic away."""
    await demo.start_vm()
    heard = [listen(netns) for netns in standin.nodes]
    uid = (await demo.migrate("m1"))["metadata"]["uid"]
    await demo.phase("VirtualMachineInstanceMigration", "Succeeded")
    await asyncio.sleep(0.3)  # tcpdump hands out what it has seen when its buffer times out
    measured = json.loads((standin.state / "migrations" / f"{uid}.json").read_text())
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


async def test_an_ordinary_pod_gets_its_nics_and_loses_them(standin: StandinLab, demo: Demo) -> None:
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
    netns = standin.names.pod(uid)
    assert "eth7" in await run("ip", "-n", netns, "link")
    await demo.cluster.delete(PODS, "p", demo.namespace)
    await demo.gone("Pod", "p")
    assert netns not in standin.names.existing_namespaces()


def ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return pod["metadata"]["name"] == "p" and any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions
    )


async def test_a_booted_guest_tells_of_itself_and_obeys_its_power_button(standin: StandinLab, demo: Demo) -> None:
    await demo.start_vm(grace=30)
    vm = await demo.until(lambda change, kind, thing: kind == "VirtualMachine" and agent_connected(thing))
    assert vm["status"]["printableStatus"] == "Running"
    (pod,) = await demo.pods()
    with (standin.state / "pods" / pod["metadata"]["uid"] / "serial.log").open() as console:  # it outlives its file
        await demo.cluster.patch(VMS, "vm1", {"spec": {"runStrategy": "Halted"}}, demo.namespace)
        await demo.gone("VirtualMachineInstance", "vm1")
        assert "virtnet-guest: powering off" in console.read()


def agent_connected(thing: Object) -> bool:
    conditions = thing.get("status", {}).get("conditions", ())
    return any(one["type"] == "AgentConnected" and one["status"] == "True" for one in conditions)

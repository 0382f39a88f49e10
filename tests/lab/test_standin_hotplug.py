"""NICs that come and go while a guest runs: the writes and their order are those of the recorded scenario g1."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.standin_demo import Demo
from tests.lab.standin_lab import StandinLab
from virtnet.kube.errors import Conflict
from virtnet.kube.kinds import VMS
from virtnet.lab.standin import hotplug
from virtnet.lab.standin.command import run
from virtnet.lab.standin.slots import Slots

TRACE = Path(__file__).parent / "trace"
Object = dict[str, Any]
HOT = {"name": "hot", "bridge": {}, "macAddress": "02:00:00:00:00:77"}


def recorded(name: str) -> Object:
    found: Object = yaml.safe_load((TRACE / f"{name}.yaml").read_text())
    return found


@pytest.fixture
def vmi() -> Object:
    return recorded("vmi-running")


@pytest.fixture
def vm(vmi: Object) -> Object:
    """A VM whose template is what its VMI was made of, and a NIC more."""
    spec = deepcopy(vmi["spec"])
    spec["domain"]["devices"]["interfaces"].append(HOT)
    spec["networks"].append({"name": "hot", "multus": {"networkName": "red-net"}})
    return {"spec": {"template": {"spec": spec}}}


def selected(pod: Object) -> list[Object]:
    found: list[Object] = json.loads(pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"])
    return found


def condition(vmi: Object) -> Object | None:
    return next((one for one in vmi["status"]["conditions"] if one["type"] == "MigrationRequired"), None)


def test_a_new_nic_is_selected_as_recorded(vmi: Object, vm: Object) -> None:
    pod, expected = recorded("launcher-pod-source"), recorded("launcher-pod-hotplugged")
    before = selected(pod)
    hotplug.copy_to_instance(vmi, vm)
    hotplug.select(pod, vmi)
    assert selected(pod)[:-1] == before
    assert selected(pod)[-1] == selected(expected)[-1]
    hotplug.report(vmi, pod)
    said = condition(vmi)
    assert said is not None
    assert (said["status"], said["reason"]) == ("False", "AutoMigrationPending")


def test_a_nic_that_is_there_is_told_once(vmi: Object, vm: Object) -> None:
    hotplug.copy_to_instance(vmi, vm)
    pod = recorded("launcher-pod-source")
    status = json.loads(pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"])
    status.append({"name": "demo/red-net", "interface": "pod7f5d1618e7d"})
    pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"] = json.dumps(status)
    for _ in range(2):
        hotplug.report(vmi, pod)
    assert [one for one in vmi["status"]["interfaces"] if one["name"] == "hot"] == [
        {"name": "hot", "podInterfaceName": "pod7f5d1618e7d", "infoSource": "multus-status"}
    ]
    assert condition(vmi) is None


def test_what_is_to_go_loses_its_selection_first_and_its_spec_last(vmi: Object, vm: Object) -> None:
    pod = recorded("launcher-pod-source")
    interfaces = vm["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"]
    next(one for one in interfaces if one["name"] == "red")["state"] = "absent"
    hotplug.copy_to_instance(vmi, vm)
    assert hotplug.absent(vmi["spec"]) == {"red"}
    hotplug.select(pod, vmi)
    assert "red-net" not in [one["name"] for one in selected(pod) if one["interface"] == "podb1f51a511f1"]
    hotplug.remove(vmi["spec"], {"red"})
    assert "red" not in [one["name"] for one in vmi["spec"]["networks"]]
    assert hotplug.absent(vmi["spec"]) == set()


@pytest.mark.parametrize("change", [lambda nic: nic.pop("bridge"), lambda nic: nic.update(state="absent")])
def test_not_every_nic_can_come_later(vmi: Object, vm: Object, change: Callable[[Object], Any]) -> None:
    change(vm["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"][-1])
    before = deepcopy(vmi["spec"])
    hotplug.copy_to_instance(vmi, vm)
    assert vmi["spec"] == before


def test_slots_are_kept_while_nics_come_and_go(tmp_path: Path) -> None:
    slots = Slots.of(["blue", "red"]).plug("hot").unplug("red").plug("late")
    assert slots.taken == {"blue": 0, "hot": 2, "late": 1}
    slots.save(tmp_path)
    assert Slots.load(tmp_path) == slots
    addresses = [word for word in Slots.of(map(str, range(32))).arguments() if "addr" in word]
    assert len(addresses) == len({word.split("addr=")[1] for word in addresses}) == 36


@pytest.mark.lab
async def test_a_nic_comes_and_goes_while_the_guest_runs(standin: StandinLab, demo: Demo):
    """Its writes in their recorded order, a migration in between, and the NIC in the guest's own list of links."""
    await demo.start_vm()
    name = "pod7f5d1618e7d"
    hot = {"name": "hot", "bridge": {}, "macAddress": "02:00:00:00:00:77"}
    await change_nics(demo, lambda devices, spec: (
        devices["interfaces"].append(hot), spec["networks"].append({"name": "hot", "multus": {"networkName": "blue-net"}})
    ))  # fmt: skip
    came = [
        await demo.until(lambda _, kind, thing: kind == "VirtualMachineInstance" and nic_of(thing["spec"], "hot")),
        await demo.until(lambda _, kind, thing: kind == "Pod" and name in annotation(thing, "networks")),
        await demo.until(lambda _, kind, thing: kind == "Pod" and name in annotation(thing, "network-status")),
        await demo.until(lambda _, kind, thing: source_of(thing, "hot") == "multus-status"),
        await demo.until(lambda _, kind, thing: "domain" in source_of(thing, "hot")),
    ]
    assert versions(came) == sorted(versions(came))

    await demo.migrate("m1")
    await demo.phase("VirtualMachineInstanceMigration", "Succeeded", "m1")
    target = next(one for one in await demo.pods() if "kubevirt.io/migrationJobUID" in one["metadata"]["labels"])
    assert f"tap{name.removeprefix('pod')}" in await run(
        "ip", "-n", standin.names.pod(target["metadata"]["uid"]), "link"
    )

    demo.seen.clear()
    await change_nics(demo, lambda devices, spec: nic_of(spec, "hot").update(state="absent"))
    gone = [
        await demo.until(
            lambda _, kind, thing: kind == "VirtualMachineInstance" and nic_of(thing["spec"], "hot").get("state")
        ),
        await demo.until(lambda _, kind, thing: is_(thing, target) and name not in annotation(thing, "networks")),
        await demo.until(lambda _, kind, thing: is_(thing, target) and name not in annotation(thing, "network-status")),
        await demo.until(lambda _, kind, thing: kind == "VirtualMachineInstance" and not source_of(thing, "hot")),
        await demo.until(lambda _, kind, thing: kind == "VirtualMachineInstance" and not nic_of(thing["spec"], "hot")),
        await demo.until(
            lambda _, kind, thing: kind == "VirtualMachine" and not nic_of(thing["spec"]["template"]["spec"], "hot")
        ),
    ]
    assert versions(gone) == sorted(versions(gone))
    assert name.removeprefix("pod") not in await run("ip", "-n", standin.names.pod(target["metadata"]["uid"]), "link")


async def change_nics(demo: Demo, change: Callable[[Object, Object], object]) -> None:
    """As a person's client does, which reads again when the stand-in has written in between."""
    vm = await demo.cluster.get(VMS, "vm1", demo.namespace)
    spec = vm["spec"]["template"]["spec"]
    change(spec["domain"]["devices"], spec)
    try:
        await demo.cluster.replace(VMS, "vm1", vm, demo.namespace)
    except Conflict:
        await change_nics(demo, change)


def nic_of(spec: Object, name: str) -> Object:
    return next((one for one in spec["domain"]["devices"]["interfaces"] if one["name"] == name), {})


def annotation(pod: Object, name: str) -> str:
    found: str = pod["metadata"].get("annotations", {}).get(f"k8s.v1.cni.cncf.io/{name}", "")
    return found


def source_of(thing: Object, name: str) -> str:
    found = thing.get("status", {}).get("interfaces", ()) if thing["kind"] == "VirtualMachineInstance" else ()
    return next((one.get("infoSource", "") for one in found if one["name"] == name), "")


def is_(thing: Object, other: Object) -> bool:
    return bool(thing["metadata"]["uid"] == other["metadata"]["uid"])


def versions(things: list[Object]) -> list[int]:
    return [int(thing["metadata"]["resourceVersion"]) for thing in things]

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
from virtnet.lab.standin import hotplug, live_update
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
    live_update.require_migration(vmi, pod)
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
        live_update.require_migration(vmi, pod)
    assert [one for one in vmi["status"]["interfaces"] if one["name"] == "hot"] == [
        {"name": "hot", "podInterfaceName": "pod7f5d1618e7d", "infoSource": "multus-status"}
    ]
    assert condition(vmi) is None


def test_the_guest_gets_it_once_the_vmi_says_that_the_pod_has_it(vmi: Object, vm: Object) -> None:
    """CNI has made it, and Multus has said so, a while before."""
    hotplug.copy_to_instance(vmi, vm)
    assert hotplug.offered(vmi) == {"blue", "red"}
    pod = recorded("launcher-pod-source")
    status = json.loads(pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"])
    status.append({"name": "demo/red-net", "interface": "pod7f5d1618e7d"})
    pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"] = json.dumps(status)
    hotplug.report(vmi, pod)
    assert hotplug.offered(vmi) == {"blue", "red", "hot"}


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
    addresses = [argument for argument in Slots.of(map(str, range(32))).arguments() if "addr" in argument]
    assert len(addresses) == len({argument.split("addr=")[1] for argument in addresses}) == 36


@pytest.mark.lab
async def test_a_nic_comes_and_goes_while_the_guest_runs(standin: StandinLab, demo: Demo) -> None:
    """Its writes in their recorded order, a migration in between, and the NIC in the guest's own list of links."""
    await demo.start_vm()
    name = "pod7f5d1618e7d"
    hot = {"name": "hot", "bridge": {}, "macAddress": "02:00:00:00:00:77"}
    await demo.change_nics(lambda devices, spec: (
        devices["interfaces"].append(hot), spec["networks"].append({"name": "hot", "multus": {"networkName": "blue-net"}})
    ))  # fmt: skip
    came = [
        await demo.until(
            lambda _, kind, thing: kind == "VirtualMachineInstance" and bool(nic_of(thing["spec"], "hot"))
        ),
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
    await demo.change_nics(lambda devices, spec: nic_of(spec, "hot").update(state="absent"))
    absent = await demo.until(
        lambda _, kind, thing: kind == "VirtualMachineInstance" and "state" in nic_of(thing["spec"], "hot")
    )
    of_pod = [
        absent,
        await demo.until(lambda _, kind, thing: is_(thing, target) and name not in annotation(thing, "networks")),
        await demo.until(lambda _, kind, thing: is_(thing, target) and name not in annotation(thing, "network-status")),
    ]
    # The guest lets go of it on its node's word, while the pod loses it: neither waits for the other.
    of_guest = [
        absent,
        await demo.until(lambda _, kind, thing: kind == "VirtualMachineInstance" and not source_of(thing, "hot")),
        await demo.until(lambda _, kind, thing: kind == "VirtualMachineInstance" and not nic_of(thing["spec"], "hot")),
        await demo.until(
            lambda _, kind, thing: kind == "VirtualMachine" and not nic_of(thing["spec"]["template"]["spec"], "hot")
        ),
    ]
    for writes in (of_pod, of_guest):
        assert versions(writes) == sorted(versions(writes))
    assert name.removeprefix("pod") not in await run("ip", "-n", standin.names.pod(target["metadata"]["uid"]), "link")


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

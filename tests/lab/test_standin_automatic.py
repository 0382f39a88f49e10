"""Migrations that KubeVirt starts itself, in the order of the recorded scenarios d1, e4 and e10."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.lab.standin_demo import Demo
from tests.lab.standin_lab import StandinLab
from tests.lab.test_standin_hotplug import HOT, annotation, is_, nic_of, source_of, versions
from virtnet.kube.kinds import NADS, VMIS
from virtnet.lab.standin.conditions import find

pytestmark = pytest.mark.lab

Object = dict[str, Any]
INTERFACE = "pod7f5d1618e7d"


def required(status: str | None) -> Callable[[str, str, Object], bool]:
    """A VMI whose condition MigrationRequired says so, or that has none."""

    def says(_: str, kind: str, thing: Object) -> bool:
        found = find(thing.get("status", {}).get("conditions", ()), "MigrationRequired")
        return kind == "VirtualMachineInstance" and (found and found["status"]) == status

    return says


def ended(prefix: str) -> Callable[[str, str, Object], bool]:
    def says(_: str, kind: str, thing: Object) -> bool:
        succeeded = thing.get("status", {}).get("phase") == "Succeeded"
        migration = kind == "VirtualMachineInstanceMigration"
        return migration and succeeded and thing["metadata"]["name"].startswith(prefix)

    return says


def plug(devices: Object, spec: Object) -> None:
    devices["interfaces"].append(dict(HOT))
    spec["networks"].append({"name": "hot", "multus": {"networkName": "blue-net"}})


async def drained(demo: Demo) -> Object:
    """The VMI when it has left its node, because it was evicted."""
    demo.seen.clear()
    before = await demo.cluster.get(VMIS, "vm1", demo.namespace)
    await demo.evict()
    await demo.until(lambda _, kind, thing: find_evicted(kind, thing))
    await demo.until(ended("kubevirt-evacuation-"))
    vmi = await demo.cluster.get(VMIS, "vm1", demo.namespace)
    assert vmi["status"]["nodeName"] != before["status"]["nodeName"]
    assert "evacuationNodeName" not in vmi["status"]
    return vmi


def find_evicted(kind: str, thing: Object) -> bool:
    return kind == "VirtualMachineInstance" and bool(find(thing["status"].get("conditions", ()), "EvictionRequested"))


async def test_a_nic_added_in_mid_migration_comes_with_the_next_one(standin: StandinLab, demo: Demo) -> None:
    """Nobody plugs NICs into running pods: the source is asked for it at once, the target when it has the guest."""
    await demo.start_vm(dynamic_networks_controller="none")
    (source,) = await demo.pods()
    vmim = await demo.migrate("m1")
    await demo.phase("VirtualMachineInstanceMigration", "Scheduling", "m1")  # the target pod is made
    await demo.change_nics(plug)
    requested = await demo.until(
        lambda _, kind, thing: is_(thing, source) and INTERFACE in annotation(thing, "networks")
    )
    await demo.phase("VirtualMachineInstanceMigration", "Succeeded", "m1")
    target = next(pod for pod in await demo.pods() if pod["metadata"]["labels"].get("kubevirt.io/migrationJobUID") == vmim["metadata"]["uid"])  # fmt: skip
    later = await demo.until(lambda _, kind, thing: is_(thing, target) and INTERFACE in annotation(thing, "networks"))
    node = target["spec"]["nodeName"]
    moved = next(
        thing
        for _, kind, thing in demo.seen
        if kind == "VirtualMachineInstance" and thing["status"].get("nodeName") == node
    )
    assert versions([requested, moved, later]) == sorted(versions([requested, moved, later]))
    await demo.until(required("False"))
    assert INTERFACE not in annotation(later, "network-status")

    await drained(demo)
    await demo.until(lambda _, kind, thing: "domain" in source_of(thing, "hot"))
    vmi = await demo.cluster.get(VMIS, "vm1", demo.namespace)
    assert not required("False")("", vmi["kind"], vmi)

    demo.seen.clear()
    await demo.change_nics(lambda devices, spec: nic_of(spec, "hot").update(state="absent"))
    kept = await demo.until(lambda _, kind, thing: source_of(thing, "hot") == "multus-status")
    assert "mac" not in next(one for one in kept["status"]["interfaces"] if one["name"] == "hot")
    await demo.until(required("False"))
    await drained(demo)
    await demo.until(lambda _, kind, thing: kind == "VirtualMachine" and not nic_of(thing["spec"]["template"]["spec"], "hot"))  # fmt: skip


async def test_a_nic_is_moved_to_another_network_by_a_migration(standin: StandinLab, demo: Demo) -> None:
    """Recorded as e4: the VMI at once, the source pod never, the target under the same interface."""
    nad = {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "red-net", "namespace": demo.namespace},
        "spec": {"config": standin.nad_config},
    }
    await demo.cluster.create(NADS, nad, demo.namespace)
    await demo.start_vm()
    (source,) = await demo.pods()
    await demo.change_nics(lambda devices, spec: spec["networks"][0]["multus"].update(networkName="red-net"))
    steps = [
        await demo.until(
            lambda _, kind, thing: (
                kind == "VirtualMachineInstance" and thing["spec"]["networks"][0]["multus"]["networkName"] == "red-net"
            )
        ),
        await demo.until(required("True")),
        await demo.until(ended("kubevirt-workload-update-")),
    ]
    assert versions(steps) == sorted(versions(steps))
    pods = {pod["metadata"]["uid"]: pod for pod in await demo.pods()}
    selected = {uid: json.loads(annotation(pod, "networks"))[0] for uid, pod in pods.items()}
    before = selected.pop(source["metadata"]["uid"])
    (after,) = selected.values()
    assert (before["name"], after["name"]) == ("blue-net", "red-net")
    assert before["interface"] == after["interface"]
    vmi = await demo.cluster.get(VMIS, "vm1", demo.namespace)
    assert find(vmi["status"]["conditions"], "MigrationRequired") is None


def set_state(state: str, devices: Object, spec: Object) -> None:
    devices["interfaces"][0]["state"] = state


def link_is(link: str) -> Callable[[str, str, Object], bool]:
    def says(_: str, kind: str, thing: Object) -> bool:
        vmi = kind == "VirtualMachineInstance"
        return vmi and thing["status"]["interfaces"][0].get("linkState") == link

    return says


async def test_a_link_goes_down_and_up_again(demo: Demo) -> None:
    await demo.start_vm()
    for state, link in (("down", "down"), ("up", "up")):
        demo.seen.clear()
        await demo.change_nics(partial(set_state, state))
        await demo.until(link_is(link))

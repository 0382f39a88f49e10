"""What the stand-in writes into status, step by step, against what KubeVirt and a kubelet left there."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from virtnet.lab.standin import guest_agent, handler, interfaces, pod_status, vmis
from virtnet.lab.standin import migration_state as states
from virtnet.lab.standin.guest_agent import Said
from virtnet.lab.standin.objects import initial_status
from virtnet.lab.standin.settings import StandinNode

ALL = {"blue", "red"}
"""The networks that the recorded guest has a NIC in."""

TRACE = Path(__file__).parent / "trace"
NODE = StandinNode("node1", 1, "none", Path("none"), Path("none"))
Object = dict[str, Any]

TIMES = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")


def recorded(name: str) -> Object:
    found: Object = yaml.safe_load((TRACE / f"{name}.yaml").read_text())
    return found


def shape(thing: Any) -> Any:
    """Without what differs from one run to the next: times, and digests of images."""
    if isinstance(thing, dict):
        return {key: shape(part) for key, part in thing.items()}
    if isinstance(thing, list):
        return [shape(part) for part in thing]
    if isinstance(thing, str):
        return "TIME" if TIMES.match(thing) else thing.partition("@sha256:")[0]
    return thing


def by_type(status: Object) -> Object:
    """Conditions in any order: two writers append to them."""
    return {**status, "conditions": {one["type"]: one for one in status["conditions"]}}


UNPAUSED = {
    "type": "kubevirt.io/virtual-machine-unpaused",
    "status": "True",
    "reason": "NotPaused",
    "message": "the virtual machine is not paused",
    "lastProbeTime": "2026-11-24T03:01:18Z",
    "lastTransitionTime": "2026-11-24T03:01:18Z",
}
SCHEDULED = {
    "type": "PodScheduled",
    "status": "True",
    "lastProbeTime": None,
    "lastTransitionTime": UNPAUSED["lastProbeTime"],
}


def lived(pod: Object, *steps: Callable[[Object], None], conditions: list[Object]) -> Object:
    """The status of a pod after these steps of its life."""
    new = {**pod, "status": {"phase": "Pending", "qosClass": "Burstable", "conditions": deepcopy(conditions)}}
    for step in steps:
        step(new)
    status: Object = new["status"]
    return status


def accepted(pod: Object) -> None:
    pod_status.accepted(pod, NODE)


def running(pod: Object) -> None:
    pod_status.running(pod, "10.244.1.9")


def ended(pod: Object) -> None:
    pod_status.ended(pod, 0)


def opened(pod: Object) -> None:
    pod["status"]["conditions"].append(dict(UNPAUSED))


@pytest.mark.parametrize(
    ("file", "conditions", "steps"),
    [
        pytest.param(
            "launcher-pod-source", [UNPAUSED, SCHEDULED], [accepted, running, pod_status.ready], id="source runs"
        ),
        pytest.param(
            "launcher-pod-target", [SCHEDULED], [accepted, running, pod_status.ready, opened], id="target before"
        ),
        pytest.param(
            "launcher-pod-target-after",
            [SCHEDULED],
            [accepted, running, pod_status.ready, opened, pod_status.gates],
            id="target after",
        ),
        pytest.param(
            "launcher-pod-source-completed",
            [UNPAUSED, SCHEDULED],
            [accepted, running, pod_status.ready, ended],
            id="source completed",
        ),
        pytest.param(
            "launcher-pod-target-aborted",
            [SCHEDULED],
            [accepted, running, pod_status.ready, ended],
            id="target aborted",
        ),
    ],
)
def test_a_launcher_pods_status_is_as_recorded(
    file: str, conditions: list[Object], steps: list[Callable[[Object], None]]
) -> None:
    pod = recorded(file)
    expected = shape(by_type(pod["status"]))
    made = shape(by_type(lived(pod, *steps, conditions=conditions)))
    for status in (expected, made):  # every lab and every pod has its own
        for field in ("hostIP", "hostIPs", "podIP", "podIPs"):
            assert status.pop(field)
    assert made == expected


def test_a_vmis_status_is_as_recorded() -> None:
    expected, pod, vm = recorded("vmi-running"), recorded("launcher-pod-source"), recorded("vm")
    vmi = deepcopy(expected)
    vmi["metadata"]["labels"].pop("kubevirt.io/nodeName")
    vmi["status"] = initial_status(vmi["spec"], vm["metadata"])
    starting = deepcopy(pod)
    starting["status"]["phase"] = "Pending"
    vmis._follow(vmi, [starting])
    vmis._follow(vmi, [pod])
    handler._can_migrate(vmi)
    handler._running(vmi, pod, ALL)
    vmis._follow(vmi, [pod])
    addresses = {"eth0": ["10.10.0.5"], "eth1": ["10.20.0.5"]}
    guest_agent.report(vmi, Said(ready=True, addresses=addresses), "6.14")
    once = deepcopy(vmi)
    vmi["status"]["interfaces"] = interfaces.running(vmi, pod, ALL)
    guest_agent.report(vmi, Said(ready=True, addresses=addresses), "6.14")
    assert vmi == once  # or the stand-in would write for ever
    assert vmi["metadata"]["labels"] == expected["metadata"]["labels"]
    made, known = shape(vmi["status"]), shape(expected["status"])
    assert set(made.pop("guestOSInfo")) == set(known.pop("guestOSInfo"))
    default = made["interfaces"][0]
    assert default["infoSource"] == "domain"  # the lab's guests have no NIC on the pod's network
    default |= {"infoSource": "domain, guest-agent", "interfaceName": "eth"}
    for one, other in zip(made["interfaces"], known["interfaces"], strict=True):
        assert one.pop("interfaceName").startswith("eth")  # of the guest's own kernel
        assert other.pop("interfaceName").startswith("enp")
    assert made == known


def test_a_migrations_state_is_as_recorded() -> None:
    source, target, vmim = recorded("launcher-pod-source"), recorded("launcher-pod-target"), recorded("vmim-running")
    uid = vmim["metadata"]["uid"]
    vmi = recorded("vmi-running")
    vmi["status"]["migrationState"] = states.handed_off(vmim, source, target)
    assert vmi["status"]["migrationState"] == recorded("vmi-handed-off")["status"]["migrationState"]
    states.prepared(vmi, uid, "192.168.122.12")
    for step in (states.started, states.detected, states.domain_ready, states.moved, states.completed):
        step(vmi, uid)
    expected = recorded("vmi-after")
    made = vmi["status"]["migrationState"]
    assert sorted(made.pop("targetDirectMigrationNodePorts").values()) == [0, 49152, 49153]
    expected["status"]["migrationState"].pop("targetDirectMigrationNodePorts")
    assert shape(made) == shape(expected["status"]["migrationState"])
    assert vmi["status"]["nodeName"] == vmi["metadata"]["labels"]["kubevirt.io/nodeName"] == "node2"


def test_what_a_guest_has_told_stays_when_it_moves() -> None:
    vmi, pod = recorded("vmi-running"), recorded("launcher-pod-source")
    annotation = "k8s.v1.cni.cncf.io/network-status"
    assert interfaces.running(vmi, pod, ALL) == vmi["status"]["interfaces"]
    moved = json.loads(pod["metadata"]["annotations"][annotation])
    moved[1]["ips"] = ["10.10.0.9"]
    pod["metadata"]["annotations"][annotation] = json.dumps(moved)
    assert interfaces.running(vmi, pod, ALL)[1]["ipAddress"] == "10.10.0.5"


def test_a_guest_is_understood() -> None:
    console = (
        "virtnet-guest: ready\r\nvirtnet-guest: eth0 10.0.0.5/24 mtu 1342 up\r\n"
        "virtnet-guest: eth1 fd00::7/128 mtu 1342 via fe80::1 up\r\nvirtnet-guest: eth0 10.0.0.6/24 mtu 1342 up\r\n"
        "virtnet-guest: eth0 fd00::6/128 mtu 1342 via fe80::1 up\r\n"
    )
    said = Said.on(console)
    assert said == Said(ready=True, addresses={"eth0": ["10.0.0.6", "fd00::6"], "eth1": ["fd00::7"]})
    assert Said.on("") == Said(ready=False, addresses={})

"""The stand-in's objects against those that a real virt-controller wrote."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from virtnet.lab.standin.launcher_pod import launcher_pod, target_pod
from virtnet.lab.standin.objects import vmi_of

TRACE = Path(__file__).parent / "trace"

SERVER_SET = ("creationTimestamp", "generation", "resourceVersion", "uid", "managedFields")
BY_OTHERS = ("k8s.v1.cni.cncf.io/network-status", "kubevirt.io/migration-target-ready-timestamp")
"""Annotations that come later, by Multus and by the migration."""
LATER_LABELS = ("topology.kubernetes.io/zone",)
DEFAULTED = ("nodeName", "tolerations", "priority", "preemptionPolicy")


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((TRACE / f"{name}.yaml").read_text())
    return found


def normalised(pod: dict[str, Any]) -> dict[str, Any]:
    """A pod without what differs from one run to the next, or is another's."""
    metadata = {key: part for key, part in pod["metadata"].items() if key not in SERVER_SET}
    metadata["name"] = re.sub(r"-.{5}$", "-*", metadata["name"])
    annotations = {key: text for key, text in metadata["annotations"].items() if key not in BY_OTHERS}
    labels = {key: text for key, text in metadata["labels"].items() if key not in LATER_LABELS}
    spec = {key: part for key, part in pod["spec"].items() if key not in DEFAULTED}
    for container in spec["containers"]:
        container["args"][1] = "*"  # the QEMU timeout is random
    for volume in spec["volumes"]:
        if "image" in volume:
            volume["image"]["reference"] = volume["image"]["reference"].partition("@")[0]
    return {
        "apiVersion": pod["apiVersion"],
        "kind": pod["kind"],
        "metadata": {**metadata, "annotations": annotations, "labels": labels},
        "spec": spec,
    }


def test_a_vmi_is_the_vm_with_kubevirts_defaults() -> None:
    vm, expected = recorded("vm"), recorded("vmi-running")
    made = vmi_of(vm)
    assert made["spec"] == expected["spec"]
    assert made["metadata"]["ownerReferences"] == expected["metadata"]["ownerReferences"]
    assert made["metadata"]["finalizers"] == expected["metadata"]["finalizers"]
    assert made["metadata"]["labels"].items() <= expected["metadata"]["labels"].items()
    assert made["metadata"]["annotations"].items() <= expected["metadata"]["annotations"].items()
    later = {"phase", "phaseTransitionTimestamps", "memory", "guestOSInfo"}
    assert {key: part for key, part in made["status"].items() if key not in later}.items() <= expected["status"].items()


def test_a_launcher_pod_is_as_recorded() -> None:
    vmi, expected = recorded("vmi-running"), recorded("launcher-pod-source")
    del vmi["metadata"]["labels"]["kubevirt.io/nodeName"], expected["metadata"]["labels"]["kubevirt.io/nodeName"]
    assert normalised(launcher_pod(vmi, {})) == normalised(expected)


@pytest.mark.parametrize("file", ["launcher-pod-target-created", "launcher-pod-target"])
def test_a_target_pod_is_as_recorded(file: str) -> None:
    """The source's node is its label: nothing has changed it yet."""
    vmi, vmim, expected = recorded("vmi-handed-off"), recorded("vmim-running"), recorded(file)
    del vmi["metadata"]["labels"]["kubevirt.io/migrationTargetNodeName"]
    assert normalised(target_pod(vmi, vmim, {})) == normalised(expected)


@pytest.mark.parametrize(
    ("file", "hostname", "expected"),
    [
        pytest.param("launcher-pod-hostname", "my-guest-host", "vmhost", id="spec.hostname"),
        pytest.param("launcher-pod-long-name", "short-host", "", id="over 63 characters"),
        pytest.param("launcher-pod-vmi-only", "", "vmi1", id="no VM"),
    ],
)
def test_names_of_a_pod_are_as_recorded(file: str, hostname: str, expected: str) -> None:
    pod, vmi = recorded(file), recorded("vmi-running")
    name = pod["metadata"]["ownerReferences"][0]["name"]
    vmi["metadata"]["name"] = name
    if hostname:
        vmi["spec"]["hostname"] = hostname
    made = launcher_pod(vmi, {})
    assert made["metadata"]["generateName"] == pod["metadata"]["generateName"]
    assert made["metadata"]["name"][:-5] == pod["metadata"]["name"][:-5]
    assert made["spec"]["hostname"] == pod["spec"]["hostname"]
    for label in ("vm.kubevirt.io/name", "vmi.kubevirt.io/id"):
        assert made["metadata"]["labels"][label] == pod["metadata"]["labels"][label]
    assert made["metadata"]["annotations"]["kubevirt.io/domain"] == name
    assert expected in {"", name}


def test_two_nics_on_one_network_differ_by_their_interface() -> None:
    vmi, expected = recorded("vmi-running"), recorded("launcher-pod-two-nics-one-nad")
    blue = {"bridge": {}, "macAddress": "02:00:00:00:00:01", "name": "blue"}
    vmi["spec"]["domain"]["devices"]["interfaces"] = [blue, {"bridge": {}, "name": "blue2"}]
    vmi["spec"]["networks"] = [{"name": name, "multus": {"networkName": "blue-net"}} for name in ("blue", "blue2")]
    networks = "k8s.v1.cni.cncf.io/networks"
    assert launcher_pod(vmi, {})["metadata"]["annotations"][networks] == expected["metadata"]["annotations"][networks]


def test_an_added_node_selector_reaches_the_target() -> None:
    vmim = recorded("vmim-running")
    vmim["spec"]["addedNodeSelector"] = {"kubernetes.io/hostname": "node3"}
    assert target_pod(recorded("vmi-running"), vmim, {})["spec"]["nodeSelector"]["kubernetes.io/hostname"] == "node3"


def test_an_added_node_selector_cannot_overrule_the_vm() -> None:
    vmi, vmim = recorded("vmi-running"), recorded("vmim-running")
    vmi["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "node2"}
    vmim["spec"]["addedNodeSelector"] = {"kubernetes.io/hostname": "node3", "zone": "z"}
    selector = target_pod(vmi, vmim, {})["spec"]["nodeSelector"]
    assert (selector["kubernetes.io/hostname"], selector["zone"]) == ("node2", "z")

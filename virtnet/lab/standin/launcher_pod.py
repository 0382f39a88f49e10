"""The virt-launcher pod of a VMI, as virt-controller makes it for a start and for the target of a migration."""

import hashlib
import json
import random
from collections.abc import Mapping

from virtnet.api.vhostuser import LAUNCHER_VOLUME
from virtnet.lab.standin.containers import compute, console_log, container_disk, hook_sidecar
from virtnet.lab.standin.kubevirt import (
    API,
    CREATED_BY,
    DEFAULT_NETWORK,
    IMAGE,
    JOB_NAME,
    JOB_UID,
    NETWORKS,
    OVERHEAD_BYTES,
    UNPAUSED,
    Object,
    pod_nic,
    vhost_user,
)

NOT_COPIED = ("kubectl.kubernetes.io", "kubevirt.io/storage-observed", "kubevirt.io/latest-observed")
SUFFIX = "bcdfghjklmnpqrstvwxz2456789"

TARGET_SELECTOR = {
    "cpu-feature.node.kubevirt.io/vmx": "true",
    "cpu-model-migration.node.kubevirt.io/Skylake-Server": "true",
    "cpu-vendor.node.kubevirt.io/Intel": "true",
    "machine-type.node.kubevirt.io/pc-q35-9.2": "true",
}
"""What a source with the CPU model ``host-model`` asks of a target."""

EMPTY_VOLUMES = ("private", LAUNCHER_VOLUME, "sockets", "virt-bin-share-dir", "libvirt-runtime", "ephemeral-disks")

SIDECAR_VOLUMES = (
    {"name": "hook-sidecar-sockets", "emptyDir": {}},
    {
        "name": "network-info-annotation",
        "downwardAPI": {
            "items": [
                {"path": "network-info", "fieldRef": {"fieldPath": "metadata.annotations['kubevirt.io/network-info']"}}
            ]
        },
    },
)


def launcher_pod(vmi: Object, devices: Mapping[str, int]) -> Object:
    """The body of the pod that a VMI starts in. ``devices``: how many of each resource its networks need."""
    metadata, spec = vmi["metadata"], vmi["spec"]
    hostname = (spec.get("hostname") or metadata["name"])[:63].rstrip("-.")
    disks = [volume for volume in spec.get("volumes", ()) if "containerDisk" in volume]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": _name(metadata["name"]),
            "generateName": f"virt-launcher-{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": {
                **metadata.get("labels", {}),
                "kubevirt.io": "virt-launcher",
                CREATED_BY: metadata["uid"],
                "vm.kubevirt.io/name": hostname,
                "vmi.kubevirt.io/id": _label(metadata["name"]),
            },
            "annotations": _annotations(vmi),
            "ownerReferences": [
                {
                    "apiVersion": API,
                    "kind": "VirtualMachineInstance",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "volumes": [*_volumes(disks), *(SIDECAR_VOLUMES if vhost_user(vmi) else ())],
            "initContainers": [console_log(vmi), *(container_disk(disk) for disk in disks)],
            "containers": [compute(vmi, disks, devices), *([hook_sidecar()] if vhost_user(vmi) else ())],
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": spec.get("terminationGracePeriodSeconds", 30) + 30,
            "dnsPolicy": "ClusterFirst",
            "nodeSelector": {
                "kubernetes.io/arch": "amd64",
                "kubevirt.io/schedulable": "true",
                "machine-type.node.kubevirt.io/q35": "true",
                **spec.get("nodeSelector", {}),
            },
            "automountServiceAccountToken": False,
            "securityContext": {"runAsUser": 107, "runAsGroup": 107, "runAsNonRoot": True, "fsGroup": 107},
            "hostname": hostname,
            "affinity": {"nodeAffinity": _not_obsolete()},
            "schedulerName": "default-scheduler",
            "readinessGates": [{"conditionType": UNPAUSED}],
            "enableServiceLinks": False,
        },
    }


def target_pod(vmi: Object, vmim: Object, devices: Mapping[str, int]) -> Object:
    """The body of the pod that a migration goes to: made from the VMI as it is now, so that it differs in details."""
    pod = launcher_pod(vmi, devices)
    metadata, spec = pod["metadata"], pod["spec"]
    metadata["labels"][JOB_UID] = vmim["metadata"]["uid"]
    metadata["annotations"][JOB_NAME] = vmim["metadata"]["name"]
    del spec["nodeSelector"]["machine-type.node.kubevirt.io/q35"]
    # What is added can only narrow: where the VM itself says something, that stands.
    spec["nodeSelector"] = {**vmim["spec"].get("addedNodeSelector", {}), **spec["nodeSelector"], **TARGET_SELECTOR}
    # Images are already known by their digests, so the containers that only fetch them are left out.
    spec["initContainers"] = [one for one in spec["initContainers"] if not one["name"].startswith("volume")]
    spec["volumes"] = [one for one in spec["volumes"] if one["name"] != "launcher-volume"]
    for volume in spec["volumes"]:
        if "image" in volume:
            volume["image"]["reference"] = digest(volume["image"]["reference"])
    spec["affinity"]["podAntiAffinity"] = {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "labelSelector": {"matchLabels": {CREATED_BY: vmi["metadata"]["uid"]}},
                "topologyKey": "kubernetes.io/hostname",
            }
        ]
    }
    return pod


def digest(image: str) -> str:
    """An image by a digest of our own: nothing is ever fetched."""
    repository = image.partition("@")[0]
    slash = repository.rfind("/")
    name = repository[: slash + 1] + repository[slash + 1 :].partition(":")[0]
    return f"{name}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def _annotations(vmi: Object) -> Object:
    metadata, spec = vmi["metadata"], vmi["spec"]
    name, namespace = metadata["name"], metadata["namespace"]
    freezer = ["--name", name, "--namespace", namespace]
    copied = {key: text for key, text in metadata.get("annotations", {}).items() if not key.startswith(NOT_COPIED)}
    made = {
        **copied,
        "descheduler.alpha.kubernetes.io/request-evict-only": "",
        "kubectl.kubernetes.io/default-container": "compute",
        "kubevirt.io/domain": name,
        "kubevirt.io/memory-overhead-bytes": str(OVERHEAD_BYTES),
        "kubevirt.io/migrationTransportUnix": "true",
        "post.hook.backup.velero.io/command": json.dumps(["/usr/bin/virt-freezer", "--unfreeze", *freezer]),
        "post.hook.backup.velero.io/container": "compute",
        "pre.hook.backup.velero.io/command": json.dumps(["/usr/bin/virt-freezer", "--freeze", *freezer]),
        "pre.hook.backup.velero.io/container": "compute",
        "pre.hook.backup.velero.io/timeout": "60s",
    }
    if any("masquerade" in interface for interface in spec["domain"]["devices"].get("interfaces", ())):
        made["istio.io/reroute-virtual-interfaces"] = "k6t-eth0"
        made["traffic.sidecar.istio.io/kubevirtInterfaces"] = "k6t-eth0"
    if selected := networks_of(spec, namespace):
        made[NETWORKS] = json.dumps(selected, separators=(",", ":"))
    for network in spec.get("networks", ()):
        if network.get("multus", {}).get("default"):
            made[DEFAULT_NETWORK] = network["multus"]["networkName"]
    return made


def networks_of(spec: Object, namespace: str) -> list[Object]:
    """One Multus element for every secondary network; with a MAC only where the VM asks for one."""
    interfaces = {interface["name"]: interface for interface in spec["domain"]["devices"].get("interfaces", ())}
    found = []
    for network in spec.get("networks", ()):
        secondary = "multus" in network and not network["multus"].get("default")
        if not secondary or interfaces.get(network["name"], {}).get("state") == "absent":
            continue
        place, _, name = network["multus"]["networkName"].rpartition("/")
        element = {"name": name, "namespace": place or namespace}
        if mac := interfaces.get(network["name"], {}).get("macAddress"):
            element["mac"] = mac
        found.append({**element, "interface": pod_nic(network)})
    return found


def _volumes(disks: list[Object]) -> list[Object]:
    images = [
        {"name": disk["name"], "image": {"reference": disk["containerDisk"]["image"], "pullPolicy": "IfNotPresent"}}
        for disk in disks
    ]
    if images:
        images.append({"name": "launcher-volume", "image": {"reference": IMAGE, "pullPolicy": "IfNotPresent"}})
    empty = [{"name": name, "emptyDir": {}} for name in EMPTY_VOLUMES]
    return [*empty, *images, {"name": "hotplug-disks", "emptyDir": {}}]


def _not_obsolete() -> Object:
    expression = {"key": "node-labeller.kubevirt.io/obsolete-host-model", "operator": "DoesNotExist"}
    return {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    }


def _name(vmi: str) -> str:
    """Chosen here and not by the server, so that a repeated creation is noticed."""
    return f"virt-launcher-{vmi}-"[:58] + "".join(random.choices(SUFFIX, k=5))


def _label(name: str) -> str:
    if len(name) <= 63:
        return name
    return f"{name[:54]}-{hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:8]}"

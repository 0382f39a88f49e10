"""Names and constants of KubeVirt that several of its parts share."""

from typing import Any

from virtnet.api.names import pod_interface
from virtnet.api.nic_kinds import VHOSTUSER_BINDING

Object = dict[str, Any]

API = "kubevirt.io/v1"
IMAGE = "virt-launcher:test"
SIDECAR_IMAGE = "virtnet-vhostuser:test"
SIDECAR = "hook-sidecar-0"
"""The container of a launcher's first hook sidecar."""
OVERHEAD = "288Mi"
OVERHEAD_BYTES = 288 * 2**20
MACHINE = "pc-q35-9.2"

CREATED_BY = "kubevirt.io/created-by"
NODE_NAME = "kubevirt.io/nodeName"
TARGET_NODE = "kubevirt.io/migrationTargetNodeName"
JOB_UID = "kubevirt.io/migrationJobUID"
JOB_NAME = "kubevirt.io/migrationJobName"
TARGET_READY = "kubevirt.io/migration-target-ready-timestamp"
NONROOT = "kubevirt.io/nonroot"
GENERATION = "kubevirt.io/vm-generation"
VMI_NAME = "kubevirt.io/vmi-name"
UNPAUSED = "kubevirt.io/virtual-machine-unpaused"

VM_FINALIZER = "kubevirt.io/virtualMachineControllerFinalize"
VMI_FINALIZER = "kubevirt.io/foregroundDeleteVirtualMachine"
VMIM_FINALIZER = "kubevirt.io/migrationJobFinalize"

FINAL = ("Succeeded", "Failed")

NETWORKS = "k8s.v1.cni.cncf.io/networks"
DEFAULT_NETWORK = "v1.multus-cni.io/default-network"
NETWORK_STATUS = "k8s.v1.cni.cncf.io/network-status"


def phase(thing: Object) -> str:
    found: str = thing.get("status", {}).get("phase", "")
    return found


def final(thing: Object) -> bool:
    return phase(thing) in FINAL


def pod_nic(network: Object) -> str:
    """The pod's interface for one of a VMI's networks."""
    secondary = "multus" in network and not network["multus"].get("default")
    return pod_interface(network["name"]) if secondary else "eth0"


def vhost_user(vmi: Object) -> set[str]:
    """The networks whose NIC the binding plugin for vhost-user makes."""
    interfaces = vmi["spec"]["domain"]["devices"].get("interfaces", ())
    return {one["name"] for one in interfaces if one.get("binding", {}).get("name") == VHOSTUSER_BINDING}


def is_launcher(pod: Object) -> bool:
    return bool(pod["metadata"].get("labels", {}).get("kubevirt.io") == "virt-launcher")


def migration_in_progress(vmi: Object) -> Object | None:
    """The migrationState of a migration that was handed off and is not over."""
    state: Object | None = vmi.get("status", {}).get("migrationState")
    return state if state and not state.get("completed") else None

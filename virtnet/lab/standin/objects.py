"""VirtualMachineInstances as KubeVirt makes them: virt-controller's copy of the VM, with virt-api's defaults."""

from copy import deepcopy
from uuid import NAMESPACE_OID, uuid5

from virtnet.lab.standin.conditions import now
from virtnet.lab.standin.kubevirt import API, GENERATION, VM_FINALIZER, VMI_FINALIZER, Object

DEFAULT_MEMORY = "128Mi"


def vmi_of(vm: Object) -> Object:
    """The body of the VMI that a VM runs as."""
    metadata, template = vm["metadata"], vm["spec"]["template"]
    described = template.get("metadata", {})
    spec = _defaulted(deepcopy(template["spec"]), metadata["name"])
    return {
        "apiVersion": API,
        "kind": "VirtualMachineInstance",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": dict(described.get("labels", {})),
            "annotations": {**described.get("annotations", {}), GENERATION: str(metadata["generation"])},
            "finalizers": [VM_FINALIZER, VMI_FINALIZER],
            "ownerReferences": [
                {
                    "apiVersion": API,
                    "blockOwnerDeletion": True,
                    "controller": True,
                    "kind": "VirtualMachine",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                }
            ],
        },
        "spec": spec,
        "status": initial_status(spec, metadata),
    }


def initial_status(spec: Object, vm: Object) -> Object:
    memory = guest_memory(spec)
    return {
        "currentCPUTopology": {"cores": spec["domain"]["cpu"].get("cores", 1)},
        "guestOSInfo": {},
        "memory": {"guestAtBoot": memory, "guestCurrent": memory, "guestRequested": memory},
        "phase": "Pending",
        "phaseTransitionTimestamps": [{"phase": "Pending", "phaseTransitionTimestamp": now()}],
        "runtimeUser": 107,
        "virtualMachineRevisionName": f"revision-start-vm-{vm['uid']}-{vm['generation']}",
    }


def guest_memory(spec: Object) -> str:
    """A quantity, such as 128Mi."""
    domain = spec["domain"]
    found: str = (
        domain.get("memory", {}).get("guest")
        or domain.get("resources", {}).get("requests", {}).get("memory")
        or DEFAULT_MEMORY
    )
    return found


def enter(status: Object, phase: str) -> None:
    """Put a VMI or VMIM into a phase, with the time when."""
    if status.get("phase") != phase:
        status["phase"] = phase
        moment = {"phase": phase, "phaseTransitionTimestamp": now()}
        status.setdefault("phaseTransitionTimestamps", []).append(moment)


def _defaulted(spec: Object, name: str) -> Object:
    domain = spec.setdefault("domain", {})
    devices = domain.setdefault("devices", {})
    spec.setdefault("architecture", "amd64")
    spec.setdefault("evictionStrategy", "None")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    domain.setdefault("cpu", {}).setdefault("cores", 1)
    domain["cpu"].setdefault("model", "host-model")
    domain.setdefault("features", {}).setdefault("acpi", {"enabled": True})
    firmware = domain.setdefault("firmware", {})
    firmware.setdefault("uuid", str(uuid5(NAMESPACE_OID, name)))
    firmware.setdefault("serial", str(uuid5(NAMESPACE_OID, f"{name}-serial")))
    domain.setdefault("machine", {}).setdefault("type", "q35")
    domain.setdefault("resources", {})
    domain.setdefault("memory", {}).setdefault("guest", guest_memory(spec))
    for interface in devices.get("interfaces", ()):
        if not {"bridge", "masquerade", "sriov", "passtBinding", "binding"} & set(interface):
            interface["bridge"] = {}
    _volumes(spec, devices)
    return spec


def _volumes(spec: Object, devices: Object) -> None:
    for volume in spec.get("volumes", ()):
        if "containerDisk" in volume:
            volume["containerDisk"].setdefault("imagePullPolicy", "IfNotPresent")
        disks = devices.setdefault("disks", [])
        if not any(disk["name"] == volume["name"] for disk in disks):
            disks.append({"disk": {"bus": "sata"}, "name": volume["name"]})

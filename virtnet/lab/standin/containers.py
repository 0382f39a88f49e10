"""The containers of a virt-launcher pod. Nothing runs them; they are here for whoever reads or changes pods."""

from collections.abc import Mapping

from virtnet.api.vhostuser import LAUNCHER_SOCKETS, LAUNCHER_VOLUME
from virtnet.lab.standin.kubevirt import (
    IMAGE,
    OVERHEAD,
    SIDECAR,
    SIDECAR_IMAGE,
    Object,
    vhost_user,
)

MEBI = 2**20
UNITS = {"Ki": 2**10, "Mi": MEBI, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9}


def size(quantity: str) -> int:
    """Bytes of a memory quantity.

    >>> size("128Mi")
    134217728
    """
    for unit, factor in UNITS.items():
        if quantity.endswith(unit):
            return int(float(quantity.removesuffix(unit)) * factor)
    return int(quantity)


def console_log(vmi: Object) -> Object:
    uid = vmi["metadata"]["uid"]
    return {
        "name": "guest-console-log",
        "image": IMAGE,
        "command": ["/usr/bin/virt-tail"],
        "args": ["--logfile", f"/var/run/kubevirt-private/{uid}/virt-serial0-log"],
        "env": [{"name": "VIRT_LAUNCHER_LOG_VERBOSITY", "value": "2"}],
        "resources": {"limits": {"cpu": "15m", "memory": "60M"}, "requests": {"cpu": "5m", "memory": "35M"}},
        "restartPolicy": "Always",
        "volumeMounts": [{"name": "private", "readOnly": True, "mountPath": "/var/run/kubevirt-private"}],
        **_common(),
    }


def container_disk(volume: Object) -> Object:
    return {
        "name": f"volume{volume['name']}",
        "image": volume["containerDisk"]["image"],
        "command": ["/container-disk-binary/usr/bin/container-disk"],
        "args": ["--no-op"],
        "resources": {
            "limits": {"cpu": "10m", "memory": "40M"},
            "requests": {"cpu": "1m", "ephemeral-storage": "50M", "memory": "1M"},
        },
        "volumeMounts": [{"name": "launcher-volume", "readOnly": True, "mountPath": "/container-disk-binary"}],
        **_common(),
    }


def compute(vmi: Object, disks: list[Object], devices: Mapping[str, int]) -> Object:
    """``devices``: how many of each resource its networks need."""
    needed = {name: str(count) for name, count in devices.items()}
    memory = size(vmi["spec"]["domain"]["memory"]["guest"]) + size(OVERHEAD)
    return {
        "name": "compute",
        "image": IMAGE,
        "command": ["/usr/bin/virt-launcher-monitor"],
        "args": _arguments(vmi),
        "env": [
            {"name": "XDG_CACHE_HOME", "value": "/var/run/kubevirt-private"},
            {"name": "XDG_CONFIG_HOME", "value": "/var/run/kubevirt-private"},
            {"name": "XDG_RUNTIME_DIR", "value": "/var/run"},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
        ],
        "resources": {
            "limits": {"devices.kubevirt.io/tun": "1", **needed},
            "requests": {
                "cpu": "100m",
                "devices.kubevirt.io/tun": "1",
                "ephemeral-storage": "50M",
                "memory": f"{memory // MEBI}Mi",
                **needed,
            },
        },
        "volumeMounts": _mounts(disks),
        **_common(
            terminationMessagePolicy="FallbackToLogsOnError",
            securityContext={
                "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
                "runAsUser": 107,
                "runAsGroup": 107,
                "runAsNonRoot": True,
                "allowPrivilegeEscalation": False,
            },
        ),
    }


def hook_sidecar() -> Object:
    """Of the binding plugin for vhost-user NICs."""
    return {
        "name": SIDECAR,
        "image": SIDECAR_IMAGE,
        "env": [{"name": "CONTAINER_NAME", "value": SIDECAR}],
        "resources": {},
        "volumeMounts": [
            {"name": "hook-sidecar-sockets", "mountPath": "/var/run/kubevirt-hooks", "subPath": SIDECAR},
            {"name": "network-info-annotation", "mountPath": "/etc/podinfo"},
        ],
        **_common(),
    }


def _arguments(vmi: Object) -> list[str]:
    metadata, spec = vmi["metadata"], vmi["spec"]
    valued = {
        "qemu-timeout": "317s",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "namespace": metadata["namespace"],
        "kubevirt-share-dir": "/var/run/kubevirt",
        "ephemeral-disk-dir": "/var/run/kubevirt-ephemeral-disks",
        "container-disk-dir": "/var/run/kubevirt/container-disks",
        "grace-period-seconds": str(spec.get("terminationGracePeriodSeconds", 30) + 15),
        "hook-sidecars": "1" if vhost_user(vmi) else "0",
        "ovmf-path": "/usr/share/edk2/ovmf",
        "disk-memory-limit": "2097152000",
        "hypervisor": "kvm",
    }
    flags = ("run-as-nonroot", "image-volume", "upgrade-ordinal-ifaces", "allow-emulation")
    pairs = [part for name, text in valued.items() for part in (f"--{name}", text)]
    return [*pairs, *(f"--{flag}" for flag in flags)]


def _mounts(disks: list[Object]) -> list[Object]:
    root = LAUNCHER_SOCKETS
    images = [
        {"name": disk["name"], "readOnly": True, "mountPath": f"{root}-image-volume/disk_{number}"}
        for number, disk in enumerate(disks)
    ]
    return [
        {"name": "private", "mountPath": f"{root}-private"},
        {"name": LAUNCHER_VOLUME, "mountPath": root},
        {"name": "ephemeral-disks", "mountPath": f"{root}-ephemeral-disks"},
        {"name": "libvirt-runtime", "mountPath": "/var/run/libvirt"},
        {"name": "sockets", "mountPath": f"{root}/sockets"},
        *images,
        {"name": "hotplug-disks", "mountPath": f"{root}/hotplug-disks", "mountPropagation": "HostToContainer"},
    ]


def _common(**different: object) -> Object:
    return {
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "capabilities": {"drop": ["ALL"]},
            "runAsUser": 107,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
        },
        **different,
    }

"""The files by which device plugins, CNI plugins and Multus tell each other what a device is (device-info spec)."""

import json
from pathlib import Path
from typing import Any

from virtnet.lab.standin.kubevirt import Object

ROOT = Path("/var/run/k8s.cni.cncf.io/devinfo")
"""One of the machine, as everywhere: a lab's nodes share it, and file names tell their pods and devices apart."""


def path_of(network: str, container: str, interface: str) -> str:
    """The file of a NIC."""
    return str(ROOT / "cni" / f"{network}-{container}_{interface}")


def copy(resource: str, device: str, path: str) -> None:
    """What the device plugin says of a device is the NIC's to start with."""
    source, target = ROOT / "dp" / f"{resource.replace('/', '-')}-{device}-device.json", Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.exists():
        target.write_bytes(source.read_bytes())


def read(path: str) -> Object | None:
    """What a NIC's file says; None where there is none."""
    try:
        found: Any = json.loads(Path(path).read_text()) if path else None
    except FileNotFoundError:
        return None
    return dict(found) if found is not None else None


def remove(path: str) -> None:
    if path:
        Path(path).unlink(missing_ok=True)

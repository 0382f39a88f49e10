"""Device-info files (device-info spec 1.1.0): what a NIC's device is, for Multus, which puts it into the pod's
network-status, and by that for KubeVirt.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from virtnet.node.journal import Entry
from virtnet.node.request import CniError

VERSION = "1.1.0"


@dataclass(frozen=True)
class PciDevice:
    """A PCI device, as a VF is one."""

    type: ClassVar = "pci"
    pci_address: str
    pf_pci_address: str = ""
    representor_device: str = ""
    vhost_net: str = ""
    rdma_device: str = ""


@dataclass(frozen=True)
class VhostUserDevice:
    """A vhost-user socket."""

    type: ClassVar = "vhost-user"
    mode: Literal["client", "server"]
    path: str


@dataclass(frozen=True)
class VdpaDevice:
    """A vDPA device."""

    type: ClassVar = "vdpa"
    parent_device: str
    driver: Literal["vhost", "virtio"]
    path: str = ""
    pci_address: str = ""
    pf_pci_address: str = ""
    representor_device: str = ""


DeviceInfo = PciDevice | VhostUserDevice | VdpaDevice


def document(info: DeviceInfo) -> dict[str, Any]:
    """What the file says.

    >>> document(PciDevice("0000:01:10.0", pf_pci_address="0000:01:00.0"))["pci"]
    {'pci-address': '0000:01:10.0', 'pf-pci-address': '0000:01:00.0'}
    """
    device = {name.replace("_", "-"): text for name, text in asdict(info).items() if text}
    return {"type": info.type, "version": VERSION, info.type: device}


def write(entry: Entry, info: DeviceInfo) -> None:
    """Whole or not at all, in the place of what Multus has copied there from the device plugin. Raises CniError."""
    path = Path(entry.device_info)
    fresh = _fresh(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(document(info)))
        fresh.rename(path)
    except OSError as error:
        problem = f"port {entry.attachment.port}: its device-info file cannot be written: {error}"
        raise CniError(CniError.TRY_AGAIN, problem, f"is there room in {path.parent}?") from error


def remove(entry: Entry) -> None:
    """What there is of a NIC's file, also after a crash; nothing is fine. Raises OSError."""
    if entry.device_info:
        path = Path(entry.device_info)
        for one in (_fresh(path), path):
            one.unlink(missing_ok=True)


def _fresh(path: Path) -> Path:
    """Where it is written first."""
    return path.with_name(f".{path.name}.new")

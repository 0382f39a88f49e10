"""Pods as people and virt-controller make them, and what admission has written on them."""

import json
from typing import Any

from virtnet.api.multus import NETWORKS
from virtnet.api.names import ATTACHED_LABEL, ATTACHMENTS, pod_interface

BLUE = pod_interface("blue")


def pod(name: str = "web", networks: Any = "blue-net", **metadata: Any) -> dict[str, Any]:
    """A pod as people write it. ``networks``: Multus' annotation, as text or as what becomes JSON."""
    text = networks if isinstance(networks, str) else json.dumps(networks)
    annotations = {**({NETWORKS: text} if text else {}), **metadata.pop("annotations", {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations, **metadata},
        "spec": {"containers": [{"name": "main", "image": "none"}]},
    }


def launcher(
    *interfaces: str,
    name: str = "virt-launcher-db-x",
    instance: str = "db",
    nad: str = "blue-net",
    labels: dict[str, str] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """A pod as virt-controller makes it, in what is read of it."""
    owner = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "name": instance,
        "uid": "ef919a10-9221-4b1c-98a0-a2062e75933a",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    networks = [{"name": nad, "interface": interface} for interface in interfaces or (BLUE,)]
    found = {"kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": "a-hostname", **(labels or {})}
    return pod(name, networks, ownerReferences=[owner], labels=found, **metadata)


def attachments(body: dict[str, Any]) -> dict[str, Any]:
    assert body["metadata"]["labels"][ATTACHED_LABEL] == "true"
    found: dict[str, Any] = json.loads(body["metadata"]["annotations"][ATTACHMENTS])
    return found


def unmarked(body: dict[str, Any]) -> bool:
    metadata = body["metadata"]
    return ATTACHMENTS not in metadata.get("annotations", {}) and ATTACHED_LABEL not in metadata.get("labels", {})

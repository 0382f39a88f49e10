"""Pods with a NIC, and what is said and kept of it."""

import json
from typing import Any
from uuid import uuid4

from virtnet.api import SubnetRef
from virtnet.api.kubevirt import MIGRATION_JOB_UID
from virtnet.api.names import ATTACHMENTS
from virtnet.api.records import Attachment
from virtnet.node.journal import Entry
from virtnet.node.nics.veth import host_name

MAC = "02:76:6e:00:00:05"


def attachment(port: str = "demo/db.blue", **changes: Any) -> dict[str, Any]:
    given = {
        "port": port,
        "network": "blue",
        "nad": "demo/blue-net",
        "subnet": SubnetRef(kind="Subnet", namespace="demo", name="blue"),
        "mac": MAC,
        "addresses": ("10.0.0.5/24",),
        "mtu": 1400,
        **changes,
    }
    return Attachment.model_validate(given).model_dump(mode="json", by_alias=True)


def journaled(**changes: Any) -> Entry:
    """What a node's journal has of the NIC that ``Node.pod`` and ``Node.add`` make, attached."""
    given = {
        "container": "c1",
        "interface": "pod1",
        "network_name": "blue-net",
        "netns": "/run/netns/none",
        "pod_namespace": "demo",
        "pod_name": "launcher",
        "pod_uid": "u1",
        "state": "Attached",
        "attachment": attachment(),
        **changes,
    }
    return Entry.model_validate(given)


def hook(entry: Entry) -> str:
    """The link at which the gate and the drain of a veth hang."""
    return host_name(entry.id)


def pod_body(
    name: str,
    *,
    interface: str = "pod1",
    migration: str = "",
    phase: str = "Pending",
    annotations: dict[str, str] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """A pod with one NIC, as admission has marked it."""
    marks = {ATTACHMENTS: json.dumps({interface: attachment(**changes)})} if annotations is None else annotations
    labels = {MIGRATION_JOB_UID: migration} if migration else {}
    metadata = {"name": name, "namespace": "demo", "uid": str(uuid4()), "labels": labels, "annotations": marks}
    return {"metadata": metadata, "status": {"phase": phase}}

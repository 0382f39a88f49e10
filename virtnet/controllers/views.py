"""What the controller keeps of other people's objects: a few fields of each, so that 10,000 VMs fit into memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from virtnet.api.multus import DEFAULT_NETWORK, NETWORKS
from virtnet.api.names import ATTACHMENTS, PINNED
from virtnet.api.records import Attachment, PinnedRecord
from virtnet.api.workloads import owning_stateful_set
from virtnet.handoff.facts import Instance, LauncherPod, Migration, MigrationState
from virtnet.kube.table import object_key

Body = Mapping[str, Any]
_ATTACHMENTS = TypeAdapter(dict[str, Attachment])


@dataclass(frozen=True)
class Vm:
    """A VirtualMachine: that it exists, and what its NICs hold."""

    key: str
    uid: str
    record: PinnedRecord | None

    @classmethod
    def of(cls, body: Body) -> "Vm":
        key = object_key(body)
        annotations = body["metadata"].get("annotations") or {}
        try:
            record = PinnedRecord.read(annotations.get(PINNED))
        except ValidationError:
            record = None  # nobody but the webhook writes it; what it did not write is not believed
        return cls(key, body["metadata"]["uid"], record if record and record.vm == key else None)


@dataclass(frozen=True)
class Pod:
    """A pod with NICs of virtnet."""

    key: str
    uid: str
    vmi: str
    """Key of the VirtualMachineInstance that it runs; empty for an ordinary pod."""
    launcher: LauncherPod
    attachments: tuple[Attachment, ...]
    readable: bool = True
    """Whether its attachments could be read: they may be those of a newer version."""
    stateful_set: str = ""
    """Name of the StatefulSet that it is of; empty for any other pod."""

    @property
    def owner(self) -> str:
        """``vm:namespace/name`` of its VM, or ``pod:namespace/name``."""
        return f"vm:{self.vmi}" if self.vmi else f"pod:{self.key}"

    def claim(self, attachment: Attachment) -> str:
        """Key of the IPAMClaim of one of its NICs; empty for none."""
        return f"{self.key.partition('/')[0]}/{attachment.ipam_claim}" if attachment.ipam_claim else ""

    @classmethod
    def of(cls, body: Body) -> "Pod":
        metadata = body["metadata"]
        key = object_key(body)
        owner: Body = next((o for o in metadata.get("ownerReferences") or () if o.get("controller")), {})
        vmi = f"{metadata['namespace']}/{owner['name']}" if owner.get("kind") == "VirtualMachineInstance" else ""
        launcher = LauncherPod(
            name=metadata["name"],
            node=body["spec"].get("nodeName") or "",
            terminal=(body.get("status") or {}).get("phase") in ("Succeeded", "Failed"),
            deleting="deletionTimestamp" in metadata,
            migration=(metadata.get("labels") or {}).get("kubevirt.io/migrationJobUID", ""),
        )
        text = (metadata.get("annotations") or {}).get(ATTACHMENTS)
        try:
            attachments = tuple(_ATTACHMENTS.validate_json(text).values()) if text else ()
        except ValidationError:
            return cls(key, metadata["uid"], vmi, launcher, (), readable=False)
        return cls(key, metadata["uid"], vmi, launcher, attachments, stateful_set=owning_stateful_set(body))


@dataclass(frozen=True)
class IpamClaim:
    """An IPAMClaim: what it says of its addresses."""

    key: str
    addresses: tuple[str, ...]
    pod: str

    @classmethod
    def of(cls, body: Body) -> "IpamClaim":
        status = body.get("status") or {}
        return cls(object_key(body), tuple(status.get("ips") or ()), (status.get("ownerPod") or {}).get("name") or "")


@dataclass(frozen=True)
class StatefulSet:
    """A StatefulSet: which pods it has, by their ordinals, and whether they have networks of Multus."""

    key: str
    uid: str
    ordinals: range
    has_networks: bool

    @classmethod
    def of(cls, body: Body) -> "StatefulSet":
        spec = body["spec"]
        first = (spec.get("ordinals") or {}).get("start") or 0
        metadata = (spec.get("template") or {}).get("metadata") or {}
        annotations = metadata.get("annotations") or {}
        ordinals = range(first, first + spec.get("replicas", 1))
        return cls(
            object_key(body),
            body["metadata"]["uid"],
            ordinals,
            any(annotations.get(key) for key in (NETWORKS, DEFAULT_NETWORK)),
        )

    def covers(self, pod: str) -> bool:
        """Whether there is a pod of this name, or is to be one again."""
        name, _, ordinal = pod.rpartition("-")
        ours = name == self.key.partition("/")[2] and ordinal.isdecimal()
        return self.has_networks and ours and int(ordinal) in self.ordinals


def instance_of(body: Body) -> Instance:
    """The facts of a VirtualMachineInstance."""
    status = body.get("status") or {}
    state = status.get("migrationState") or {}
    return Instance(
        uid=body["metadata"]["uid"],
        node=status.get("nodeName") or "",
        phase=status.get("phase") or "",
        state=MigrationState(
            uid=state.get("migrationUid") or "",
            domain_ready=bool(state.get("targetNodeDomainReadyTimestamp")),
            failed=bool(state.get("failed")),
            post_copy=state.get("mode") == "PostCopy",
        ),
    )


@dataclass(frozen=True)
class VmMigration:
    """A VirtualMachineInstanceMigration."""

    key: str
    vmi: str
    migration: Migration

    @classmethod
    def of(cls, body: Body) -> "VmMigration":
        namespace = body["metadata"]["namespace"]
        return cls(
            object_key(body),
            f"{namespace}/{body['spec']['vmiName']}",
            Migration(uid=body["metadata"]["uid"], phase=(body.get("status") or {}).get("phase") or ""),
        )

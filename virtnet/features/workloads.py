"""What is kept of other people's objects: a few fields of each, so that 10,000 VMs fit into memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from virtnet.api.ipam_claims import claimed_addresses, claiming_pod
from virtnet.api.kubevirt import migration_of, owning_instance
from virtnet.api.kubevirt_dhcp import WantedDhcp, wanted_dhcp
from virtnet.api.kubevirt_status import guest_addresses, instance_status, migrated_instance, migration_phase
from virtnet.api.meta import annotations_of, is_deleting, labels_of, object_key, uid_of
from virtnet.api.multus import DEFAULT_NETWORK, NETWORK_STATUS, NETWORKS, attached_networks
from virtnet.api.names import ATTACHMENTS, PINNED
from virtnet.api.qos_policy import QOS, policies_in
from virtnet.api.records import Attachment, Attachments, PinnedRecord, read_attachments
from virtnet.api.workloads import (
    has_ended,
    node_of,
    ordinals_of,
    owning_stateful_set,
    service_cidrs,
    template_annotations,
    template_labels,
)
from virtnet.engine.keys import ObjectKey
from virtnet.features.group_requests import (
    NO_ADDRESSES,
    NO_GROUPS,
    NO_LABELS,
    addresses_allowed,
    groups_named,
    same_labels,
)
from virtnet.features.network_parts import NOTHING, NetworkPart
from virtnet.handoff.facts import Instance, LauncherPod, Migration, MigrationState

Body = Mapping[str, Any]

_NONE: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Vm:
    """A VirtualMachine: that it exists, what its NICs hold, and which policies it names for them."""

    key: str
    uid: str
    pinned: str = ""
    """The annotation that says what its NICs hold: a fifth of what is read from it, and that is seldom asked for."""
    qos: Mapping[str, str] = field(default_factory=dict)
    """Network -> name of the policy."""
    dhcp: WantedDhcp = field(default_factory=WantedDhcp)
    """What its guest wants to be told."""
    security_groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Network -> names of groups."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Its template's, which its instances begin with."""
    network_part: NetworkPart = NOTHING
    allowed_addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Network -> CIDRs that its NIC is to send from besides its own addresses."""

    @property
    def namespace(self) -> str:
        return self.key.partition("/")[0]

    @property
    def record(self) -> PinnedRecord | None:
        """What its NICs hold; None where admission did not write it, or for another VM."""
        found = _record(self.pinned)
        return found if found and found.vm == self.key else None

    @classmethod
    def of(cls, body: Body) -> "Vm":
        key = object_key(body)
        annotations = annotations_of(body)
        try:
            qos = policies_in(annotations.get(QOS))
        except ValueError:
            qos = {}  # nor let it in
        return cls(
            key,
            uid_of(body),
            str(annotations.get(PINNED) or ""),
            qos or _NONE,
            wanted_dhcp(body),
            groups_named(body),
            same_labels(template_labels(body)),
            NetworkPart.of_vm(body),
            addresses_allowed(body),
        )


@lru_cache(maxsize=32)
def _record(text: str) -> PinnedRecord | None:
    """Whoever looks at a VM asks for it more than once."""
    try:
        return PinnedRecord.read(text)
    except ValidationError:
        return None


@dataclass(frozen=True)
class Pod:
    """A pod with NICs of virtnet."""

    key: str
    uid: str
    vmi: str
    """Name of the VirtualMachineInstance that it runs; empty for an ordinary pod."""
    launcher: LauncherPod
    attachments: tuple[Attachment, ...]
    readable: bool = True
    """Whether its attachments could be read: they may be those of a newer version."""
    stateful_set: str = ""
    """Name of the StatefulSet that it is of; empty for any other pod."""
    lacking: frozenset[str] = frozenset()
    """Ports of those of its NICs that Multus does not say it has, though it has made the sandbox: KubeVirt asks a
    running pod for a NIC also where no dynamic-networks-controller is there to plug it in.
    """

    security_groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of an ordinary pod: network -> names of groups."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of an ordinary pod."""
    network_part: NetworkPart = NOTHING
    """Of an ordinary pod."""
    allowed_addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of an ordinary pod: as a VM's."""

    def has(self, port: str) -> bool:
        """Whether it has the NIC of a Port ``namespace/name``, or gets it with its sandbox."""
        named = not self.readable or any(attachment.port == port for attachment in self.attachments)
        return named and port not in self.lacking

    @property
    def namespace(self) -> str:
        return self.key.partition("/")[0]

    @property
    def owner(self) -> ObjectKey:
        """Whose NICs it has: its VM's, or its own."""
        return ObjectKey("VirtualMachine", self.namespace, self.vmi) if self.vmi else ObjectKey.named("Pod", self.key)

    def claim(self, attachment: Attachment) -> ObjectKey | None:
        """The IPAMClaim of one of its NICs."""
        name = attachment.ipam_claim
        return ObjectKey("IPAMClaim", self.namespace, name) if name else None

    @classmethod
    def of(cls, body: Body) -> "Pod":
        key, uid, annotations = object_key(body), uid_of(body), annotations_of(body)
        vmi = owning_instance(body)
        launcher = LauncherPod(
            name=key.rpartition("/")[2],
            node=node_of(body),
            terminal=has_ended(body),
            deleting=is_deleting(body),
            migration=migration_of(body),
        )
        try:
            attachments = read_attachments(annotations.get(ATTACHMENTS))
        except ValidationError:
            return cls(key, uid, vmi, launcher, (), readable=False)
        return cls(
            key,
            uid,
            vmi,
            launcher,
            tuple(attachments.values()),
            stateful_set=owning_stateful_set(body),
            lacking=_lacking(attachments, annotations.get(NETWORK_STATUS)),
            security_groups=NO_GROUPS if vmi else groups_named(body),
            labels=NO_LABELS if vmi else same_labels(labels_of(body)),
            network_part=NOTHING if vmi else NetworkPart.of_pod(body),
            allowed_addresses=NO_ADDRESSES if vmi else addresses_allowed(body),
        )


def _lacking(attachments: Attachments, network_status: str | None) -> frozenset[str]:
    """The Ports of NICs that a pod is to have and has not got with its sandbox."""
    attached = attached_networks(network_status)
    if attached is None:
        return frozenset()
    return frozenset(
        one.port
        for interface, one in attachments.items()
        if not any(network.is_of(interface, one.network_attachment_definition) for network in attached)
    )


@dataclass(frozen=True)
class IpamClaim:
    """An IPAMClaim: what it says of its addresses."""

    key: str
    addresses: tuple[str, ...]
    pod: str

    @classmethod
    def of(cls, body: Body) -> "IpamClaim":
        return cls(object_key(body), claimed_addresses(body), claiming_pod(body))


@dataclass(frozen=True)
class StatefulSet:
    """A StatefulSet: which pods it has, by their ordinals, and whether they have networks of Multus."""

    key: str
    uid: str
    ordinals: range
    has_networks: bool

    @classmethod
    def of(cls, body: Body) -> "StatefulSet":
        annotations = template_annotations(body)
        has_networks = any(annotations.get(key) for key in (NETWORKS, DEFAULT_NETWORK))
        return cls(object_key(body), uid_of(body), ordinals_of(body), has_networks)

    def covers(self, pod: str) -> bool:
        """Whether there is a pod of this name, or is to be one again."""
        name, _, ordinal = pod.rpartition("-")
        ours = name == self.key.partition("/")[2] and ordinal.isdecimal()
        return self.has_networks and ours and int(ordinal) in self.ordinals


@dataclass(frozen=True, kw_only=True)
class VmInstance(Instance):
    """A VirtualMachineInstance, with what its guest's agent says."""

    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Network -> what the guest has there."""

    labels: Mapping[str, str] = field(default_factory=dict)
    network_part: NetworkPart = NOTHING

    @property
    def facts(self) -> "VmInstance":
        """Without these: no handoff depends on them."""
        rest = self.addresses or self.labels or self.network_part != NOTHING
        return replace(self, addresses={}, labels={}, network_part=NOTHING) if rest else self


def instance_of(body: Body) -> VmInstance:
    """What is kept of a VirtualMachineInstance."""
    status = instance_status(body)
    return VmInstance(
        uid=uid_of(body),
        node=status.node,
        phase=status.phase,
        paused=status.paused,
        state=MigrationState(
            uid=status.migration_uid,
            domain_ready=status.domain_ready,
            failed=status.failed,
            post_copy=status.post_copy,
        ),
        addresses=guest_addresses(body),
        labels=same_labels(labels_of(body)),
        network_part=NetworkPart.of_instance(body),
    )


@dataclass(frozen=True)
class VmMigration:
    """A VirtualMachineInstanceMigration."""

    key: str
    vmi: ObjectKey
    migration: Migration

    @classmethod
    def of(cls, body: Body) -> "VmMigration":
        key = object_key(body)
        vmi = ObjectKey("VirtualMachineInstance", key.partition("/")[0], migrated_instance(body))
        return cls(key, vmi, Migration(uid=uid_of(body), phase=migration_phase(body)))


@dataclass(frozen=True)
class ServiceCidr:
    """A ServiceCIDR: networks of which the cluster's Services have addresses."""

    name: str
    cidrs: tuple[str, ...]

    @classmethod
    def of(cls, body: Body) -> "ServiceCidr":
        return cls(object_key(body), service_cidrs(body))

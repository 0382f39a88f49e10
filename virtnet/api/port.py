"""Port: one NIC of one VM (or pod) for its whole life."""

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from virtnet.api.addresses import MOST_SEEN
from virtnet.api.grammar import (
    HostAddress,
    NamespacedName,
    NetworkName,
    NicMac,
    ObjectName,
    OptionalObjectName,
)
from virtnet.api.guest import MOST_ROUTES, GuestDhcp, Route
from virtnet.api.meta import Condition, Crd, PrinterColumn, Resource, Spec
from virtnet.api.nic_kinds import VETH, NicKind
from virtnet.api.references import SubnetRef

OwnerKind = Literal["VirtualMachine", "VirtualMachineInstance", "Pod"]


class Owner(Spec):
    """Whose NIC it is."""

    kind: OwnerKind = Field(description="The owner's kind.")
    name: ObjectName = Field(description="The owner's name, in the Port's namespace.")
    stateful_set: OptionalObjectName = Field(
        default="", description="The StatefulSet that a pod is of: it keeps the pod's addresses."
    )

    def is_same(self, other: "Owner") -> bool:
        """Whether both are one: a VMI without a VM counts as the VM that it might have."""
        return self.name == other.name and (self.kind == "Pod") == (other.kind == "Pod")

    def __str__(self) -> str:
        return f"{'VM' if self.kind == 'VirtualMachine' else self.kind} {self.name}"


class PortSpec(Spec):
    """What the NIC is. Written by the controller; people read it."""

    owner: Owner = Field(description="The VM or pod that the NIC belongs to.")
    network: NetworkName = Field(description="The NIC's network name in the VM's spec.networks.")
    network_attachment_definition: NamespacedName = Field(description="The NAD that it uses, as namespace/name.")
    subnet: SubnetRef = Field(description="The Subnet that its addresses are from.")
    mac_address: NicMac = Field(description="Its MAC, lower case, with colons.")
    addresses: tuple[HostAddress, ...] = Field(
        default=(),
        max_length=2,
        description="Its IP addresses, one of each family, without prefix length; none where its Subnet has no cidrs.",
    )
    routes: tuple[Route, ...] = Field(
        default=(), max_length=MOST_ROUTES, description="Routes of this NIC alone, besides those of its Subnet."
    )
    default_route: bool = Field(
        default=True, description="Whether its guest is told its Subnet's gateway as default route."
    )
    nic: NicKind = Field(default=VETH, description="How it is attached to its node: veth.")
    dhcp: GuestDhcp = Field(default_factory=GuestDhcp, description="What DHCPv4 tells its guest alone.")
    mtu: int = Field(
        default=0,
        ge=0,
        le=9000,
        description="The MTU that it was given when its pod was made, and keeps over live migrations; 0 while it has "
        "no pod.",
    )


class HandoffRecord(Spec):
    """The timeline of one live-migration handoff."""

    migration: str = Field(description="UID of the VirtualMachineInstanceMigration.")
    source: str = Field(description="The node that it left.")
    target: str = Field(description="The node that it went to.")
    state: str = Field(
        description="How far it is: Armed, Releasing, Committing or RollingBack; at its end Committed, RolledBack, "
        "Abandoned (the VM instance ended) or Lost (the port's row in OVN was deleted)."
    )
    fallback_reason: str = Field(
        default="",
        description="Why OVN's activation strategy was used in place of the target's gate, so that more is lost.",
    )
    strategy: str = Field(default="", description="Which of OVN's activation strategies was used then.")
    armed_at: datetime | None = Field(default=None, description="When the port belonged to both nodes.")
    bound_at: datetime | None = Field(default=None, description="When OVN had claimed it on the target as well.")
    activated_at: datetime | None = Field(default=None, description="When the guest announced itself on the target.")
    domain_ready_at: datetime | None = Field(default=None, description="When KubeVirt said that the guest runs there.")
    answered_at: datetime | None = Field(
        default=None, description="When the guest was first heard there itself, rather than QEMU's announcement of it."
    )
    forwarded_frames: int | None = Field(
        default=None, description="How many frames that the guest had not read on the source were forwarded to it."
    )
    drain_error: str = Field(default="", description="Why none were forwarded, so that those of the pause are lost.")
    finished_at: datetime | None = Field(default=None, description="When one node was left.")
    message: str = Field(default="", description="What it waits for, or how it ended.")

    @model_serializer(mode="wrap")
    def _what_there_is(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what there is nothing to say of: people read it, and a list is always written as a whole."""
        return {name: value for name, value in whole(self).items() if value not in ("", None)}


class PortStatus(Spec):
    """Where the NIC is now."""

    node: str = Field(default="", description="The node whose chassis has it.")
    phase: Literal["Pending", "Unbound", "Bound", "Migrating", "Conflict"] = Field(
        default="Pending",
        description="Pending (not in OVN yet), Unbound (no node has it), Bound, Migrating, or Conflict (an address is "
        "another's).",
    )
    seen_addresses: tuple[HostAddress, ...] = Field(
        default=(),
        max_length=MOST_SEEN,
        description="Where the site gives guests their addresses: what this one has, as its agent says, or else as "
        "its node has heard from it. Nothing is decided by it.",
    )
    handoffs: tuple[HandoffRecord, ...] = Field(default=(), description="The last five live migrations, newest first.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        description="Ready; HandoffStuck, AddressConflict (a machine outside has an address), NadUnusable (its VM can "
        "neither start nor migrate) and AddressesUnchecked (OVN does not see what it sends) where one is or has been; "
        "QosPolicyMissing, SecurityGroupMissing, NetworkPolicyUnreadable and AllowedAddressRefused likewise.",
    )
    observed_generation: int = Field(default=0, description="The generation that this status was computed from.")


class Port(Resource):
    """One NIC of one VM or pod, for its whole life. One logical switch port of the same name in OVN."""

    crd: ClassVar[Crd] = Crd(
        plural="ports",
        short_names=("vport",),
        columns=(
            PrinterColumn("Owner", ".spec.owner.name"),
            PrinterColumn("Network", ".spec.network"),
            PrinterColumn("Subnet", ".spec.subnet.name"),
            PrinterColumn("Addresses", ".spec.addresses"),
            PrinterColumn("MAC", ".spec.macAddress"),
            PrinterColumn("Phase", ".status.phase"),
            PrinterColumn("Node", ".status.node"),
            PrinterColumn("Seen", ".status.seenAddresses", wide=True),
            PrinterColumn("NIC", ".spec.nic", wide=True),
            PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    spec: PortSpec
    status: PortStatus = Field(default_factory=PortStatus)

"""Port: one NIC of one VM (or pod) for its whole life."""

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from virtnet.api.guest import Route
from virtnet.api.meta import Column, Condition, Crd, Resource, Spec
from virtnet.api.references import SubnetRef


class Owner(Spec):
    """Whose NIC it is."""

    kind: Literal["VirtualMachine", "VirtualMachineInstance", "Pod"] = Field(description="The owner's kind.")
    name: str = Field(max_length=253, description="The owner's name, in the Port's namespace.")
    stateful_set: str = Field(
        default="", max_length=253, description="The StatefulSet that a pod is of: it keeps the pod's addresses."
    )

    def __str__(self) -> str:
        return f"{'VM' if self.kind == 'VirtualMachine' else self.kind} {self.name}"


class PortSpec(Spec):
    """What the NIC is. Written by the controller; people read it."""

    owner: Owner = Field(description="The VM or pod that the NIC belongs to.")
    network: str = Field(max_length=253, description="The NIC's network name in the VM's spec.networks.")
    network_attachment_definition: str = Field(max_length=317, description="The NAD that it uses, as namespace/name.")
    subnet: SubnetRef = Field(description="The Subnet that its addresses are from.")
    mac_address: str = Field(max_length=17, description="Its MAC, lower case, with colons.")
    addresses: tuple[str, ...] = Field(
        max_length=2, description="Its IP addresses, one of each family, without prefix length."
    )
    routes: tuple[Route, ...] = Field(
        default=(), max_length=64, description="Routes of this NIC alone, besides those of its Subnet."
    )
    default_route: bool = Field(
        default=True, description="Whether its guest is told its Subnet's gateway as default route."
    )
    nic: Literal["veth"] = Field(default="veth", description="How it is attached to its node.")


class HandoffRecord(Spec):
    """The timeline of one live-migration handoff."""

    migration: str = Field(description="UID of the VirtualMachineInstanceMigration.")
    source: str = Field(description="The node that it left.")
    target: str = Field(description="The node that it went to.")
    state: str = Field(
        description="How far it is: Armed, Releasing, Committing or RollingBack; at its end Committed, RolledBack, "
        "Abandoned (the VM instance ended) or Lost (the port's row in OVN was deleted)."
    )
    gateless: str = Field(
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
    carried: int | None = Field(
        default=None, description="How many frames that the guest had not read on the source were sent on to it."
    )
    undrained: str = Field(default="", description="Why none were sent on, so that those of the pause are lost.")
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
    handoffs: tuple[HandoffRecord, ...] = Field(default=(), description="The last five live migrations, newest first.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        description="Ready; HandoffStuck and AddressConflict (a machine outside has an address) where one is or has "
        "been.",
    )
    observed_generation: int = Field(default=0, description="The generation that this status was computed from.")


class Port(Resource):
    """One NIC of one VM or pod, for its whole life. One logical switch port of the same name in OVN."""

    crd: ClassVar[Crd] = Crd(
        plural="ports",
        short_names=("vport",),
        columns=(
            Column("Owner", ".spec.owner.name"),
            Column("Network", ".spec.network"),
            Column("Subnet", ".spec.subnet.name"),
            Column("Addresses", ".spec.addresses"),
            Column("MAC", ".spec.macAddress"),
            Column("Phase", ".status.phase"),
            Column("Node", ".status.node"),
            Column("NIC", ".spec.nic", wide=True),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    spec: PortSpec
    status: PortStatus = Field(default_factory=PortStatus)

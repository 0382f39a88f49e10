"""NodeNetwork: what virtnet needs of a node, and what the node has."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from virtnet.api.meta import Column, Condition, Crd, Resource, Spec


def tunnel_overhead(address: str) -> int:
    """What OVN's tunnels add to a packet: the frame's header, Geneve with OVN's option, UDP and IP.

    >>> tunnel_overhead("192.0.2.1"), tunnel_overhead("2001:db8::1")
    (58, 78)
    """
    return 78 if ":" in address else 58


class HandoffPath(Spec):
    """The way to the port on the other node, along OVN's own tunnels."""

    remote: str = Field(description="The address of the other node's tunnels.")
    datapath: int = Field(description="OVN's tunnel key of the port's switch.")
    port: int = Field(description="OVN's tunnel key of the port.")
    token: str = Field(description="What the target's node proves to the source's that the guest is there; once.")


class NodeHandoff(Spec):
    """One port of this node that is being handed over."""

    migration: str = Field(description="UID of the VirtualMachineInstanceMigration.")
    role: Literal["Source", "Target"] = Field(description="Whether the port leaves this node or comes to it.")
    pod: str = Field(
        default="", description="On the source: the pod that the guest leaves. No other lets go of the port."
    )
    release: bool = Field(
        default=False, description="On the source: the guest runs elsewhere, so this node lets go of the port."
    )
    open: bool = Field(
        default=False, description="On the target: the guest runs here, so nothing is held back from it."
    )
    path: HandoffPath | None = Field(
        default=None, description="The way to the other node: frames that the source's guest never read take it."
    )


class NodeNic(Spec):
    """The NIC that reaches one ProviderNetwork from this node."""

    nic: str = Field(min_length=1, max_length=15, description="The NIC's name.")


class NodeNetworkSpec(Spec):
    """What the controller asks of the node."""

    provider_networks: dict[str, NodeNic] | None = Field(
        default=None,
        description="Which NIC is to be plugged into which ProviderNetwork, by its name. "
        "As long as this is not set, everything stays as it is.",
    )

    handoffs: dict[str, NodeHandoff] = Field(
        default_factory=dict, description="Ports being handed over, by namespace/name of the Port."
    )


class NodeHandoffStatus(Spec):
    """How far the node is with one handoff."""

    migration: str = Field(description="UID of the VirtualMachineInstanceMigration.")
    released_at: datetime | None = Field(default=None, description="When the source let go of the port.")
    opened_at: datetime | None = Field(
        default=None, description="When the guest sent its first frame on the target, and so opened its gate."
    )
    carried: int | None = Field(
        default=None, description="On the source: how many frames that its guest never read were sent on to the target."
    )
    undrained: str = Field(default="", description="On the source: why it sends nothing on.")
    asked_at: datetime | None = Field(
        default=None, description="When the target began to ask the guest, by ARP, whether it is there."
    )
    answered_at: datetime | None = Field(
        default=None, description="When the guest answered, or sent anything else than its announcement."
    )


class HandoffSupport(Spec):
    """What the node can do for live migrations."""

    gate: bool = Field(
        default=False,
        description="Whether it can hold back what goes to a migrating guest until that is there. "
        "Where it cannot, OVN's activation strategy does it.",
    )
    gate_message: str = Field(default="", description="Why it cannot.")
    drain: bool = Field(
        default=False, description="Whether it can send on what a guest that has left did not read during its pause."
    )
    drain_message: str = Field(default="", description="Why it cannot.")


class NodeProviderNetwork(Spec):
    """How one ProviderNetwork is doing on this node."""

    nic: str = Field(default="", description="The NIC that is plugged in; empty where none is.")
    bridge: str = Field(default="", description="The bridge that it is plugged into, and that has its addresses.")
    mtu: int = Field(default=0, description="The MTU of NIC and bridge.")
    mac_address: str = Field(default="", description="The MAC address of NIC and bridge.")
    ready: bool = Field(default=False, description="Whether the network is plugged in as it should be.")
    reason: str = Field(default="", description="One CamelCase word for programs.")
    message: str = Field(default="", description="A sentence for people: what, where, and what to do.")


class NodeConflict(Spec):
    """A NIC that is not attached here, because a machine outside has its address."""

    address: str = Field(description="The address.")
    mac_address: str = Field(description="Who has it: the machine's MAC address.")
    segment: str = Field(description="Where: the ProviderNetwork, and the VLAN on it.")

    def __str__(self) -> str:
        return (
            f"{self.address} is used by a machine outside, {self.mac_address} on {self.segment}; "
            "exclude the address in the Subnet and give the VM another, or take it from that machine"
        )


class NodeNetworkStatus(Spec):
    """What the node has. Written by its own daemon."""

    chassis: str = Field(
        default="", description="The node's chassis name in OVN (Open_vSwitch external_ids:system-id)."
    )
    encap_ips: tuple[str, ...] = Field(default=(), description="Addresses of its tunnels.")
    tunnel_mtu: int = Field(default=0, description="The MTU of the device that has the tunnels' address.")
    datapath: str = Field(default="", description="The integration bridge's datapath: system or netdev.")
    ovn_version: str = Field(
        default="", description="The version of its ovn-controller; empty where that does not answer."
    )
    ports: int = Field(default=0, description="How many NICs are attached.")
    handoffs: dict[str, NodeHandoffStatus] = Field(
        default_factory=dict, description="Handoffs that this node has answered, by namespace/name of the Port."
    )
    handoff: HandoffSupport = Field(
        default_factory=HandoffSupport, description="What the node can do for live migrations."
    )
    provider_networks: dict[str, NodeProviderNetwork] = Field(
        default_factory=dict, description="The ProviderNetworks of this node, by their names."
    )
    conflicts: dict[str, NodeConflict] = Field(
        default_factory=dict,
        description="Addresses that machines outside have, by namespace/name of the Port that waits for one.",
    )
    conditions: tuple[Condition, ...] = Field(
        default=(), description="Ready; Tunnel: whether the tunnels have the address that the Node asks for."
    )

    @property
    def largest_packet(self) -> int:
        """The largest packet of a guest that its tunnels carry; 0 where that is not known."""
        return self.tunnel_mtu - tunnel_overhead(self.encap_ips[0]) if self.tunnel_mtu and self.encap_ips else 0


class NodeNetwork(Resource):
    """One node's part in the network; it has the node's name."""

    crd: ClassVar[Crd] = Crd(
        plural="nodenetworks",
        short_names=("nnet",),
        namespaced=False,
        columns=(
            Column("Chassis", ".status.chassis"),
            Column("Encap", ".status.encapIps[0]"),
            Column("Datapath", ".status.datapath"),
            Column("Ports", ".status.ports", "integer"),
            Column("OVN", ".status.ovnVersion", wide=True),
            Column("Gate", ".status.handoff.gate", "boolean", wide=True),
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    spec: NodeNetworkSpec = Field(default_factory=NodeNetworkSpec)
    status: NodeNetworkStatus = Field(default_factory=NodeNetworkStatus)

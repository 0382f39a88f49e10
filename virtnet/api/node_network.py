"""NodeNetwork: what virtnet needs of a node, and what the node has."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from virtnet.api.grammar import (
    INTERFACE_NAME,
    ChassisName,
    HostIp,
    NamespacedName,
    ObjectName,
    OptionalObjectName,
    OptionalPublicKey,
    PublicKey,
    Uid,
)
from virtnet.api.meta import Condition, Crd, PrinterColumn, Resource, Spec
from virtnet.api.nic_policy import MOST_POLICIES, NicPolicyOnNode, PlacedNicPolicy
from virtnet.api.node_devices import NodeDevices

CHASSIS_MISSING = "ChassisMissing"
"""The condition by which the controller tells a node that OVN does not know it."""


def tunnel_overhead(address: str) -> int:
    """What OVN's tunnels add to a packet: the frame's header, Geneve with OVN's option, UDP and IP.

    >>> tunnel_overhead("192.0.2.1"), tunnel_overhead("2001:db8::1")
    (58, 78)
    """
    return 78 if ":" in address else 58


class HandoffPath(Spec):
    """The way to the port on the other node, along OVN's own tunnels."""

    remote: HostIp = Field(description="The address of the other node's tunnels.")
    datapath: int = Field(ge=0, le=0xFFFFFF, description="OVN's tunnel key of the port's switch.")
    port: int = Field(ge=0, le=0xFFFF, description="OVN's tunnel key of the port.")
    peer_key: PublicKey = Field(
        description="The other node's public key. By it and its own private key each of the two nodes computes the "
        "handoff's secret, with which the target's node proves to the source's that the guest has arrived."
    )


MOST_FORMER_CHASSIS = 8
MOST_VLANS = 64
"""That a guest is announced in."""


class NodeHandoff(Spec):
    """One port of this node that is being handed over."""

    migration: Uid = Field(description="UID of the VirtualMachineInstanceMigration.")
    role: Literal["Source", "Target"] = Field(description="Whether the port leaves this node or comes to it.")
    pod: OptionalObjectName = Field(
        default="", description="On the source: the pod that the guest leaves. No other lets go of the port."
    )
    release_requested: bool = Field(
        default=False, description="On the source: the guest runs elsewhere, so this node is to release the port."
    )
    guest_running: bool = Field(
        default=False, description="On the target: the guest runs here, so nothing is held back from it."
    )
    path: HandoffPath | None = Field(
        default=None, description="The way to the other node, for the frames that the source's guest never read."
    )
    vlans: tuple[int, ...] = Field(
        default=(),
        max_length=MOST_VLANS,
        description="On the target: VLANs of a physical network that the guest has within its NIC, to be announced in.",
    )


class NodeNic(Spec):
    """The NIC that reaches one ProviderNetwork from this node."""

    nic: Annotated[str, replace(INTERFACE_NAME, rule="")] = Field(
        min_length=1, max_length=15, description="The NIC's name."
    )


class VlanRange(Spec):
    """VLANs, or a single one."""

    first: int = Field(ge=1, le=4094, description="The first of them.")
    last: int = Field(ge=1, le=4094, description="The last of them.")

    @property
    def range(self) -> range:
        return range(self.first, self.last + 1)


class NodeNetworkSpec(Spec):
    """What the controller asks of the node."""

    provider_networks: dict[ObjectName, NodeNic] | None = Field(
        default=None,
        description="Which NIC is to be plugged into which ProviderNetwork, by its name. "
        "As long as this is not set, everything stays as it is.",
    )

    handoffs: dict[NamespacedName, NodeHandoff] = Field(
        default_factory=dict, description="Ports being handed over, by namespace/name of the Port."
    )
    routers: tuple[NamespacedName, ...] = Field(
        default=(),
        max_length=4096,
        description="Ports, by namespace/name, that may send what only routers send: their Subnets say so.",
    )
    trunks: dict[NamespacedName, tuple[VlanRange, ...]] = Field(
        default_factory=dict,
        description="In which VLANs NICs of this node may send ICMPv6, by namespace/name of the Port: their "
        "ClusterSubnets say so. No other may in any.",
    )
    nic_policies: tuple[PlacedNicPolicy, ...] | None = Field(
        default=None,
        max_length=MOST_POLICIES,
        description="The NicPolicies of this node, the eldest first: of two that select one NIC it has that. "
        "As long as this is not set, everything stays as it is.",
    )


class NodeHandoffStatus(Spec):
    """How far the node is with one handoff."""

    migration: str = Field(description="UID of the VirtualMachineInstanceMigration.")
    released_at: datetime | None = Field(default=None, description="When the source let go of the port.")
    gate_opened_at: datetime | None = Field(
        default=None, description="On the target: when the guest sent its first frame, and so opened its gate."
    )
    forwarded_frames: int | None = Field(
        default=None,
        description="On the source: how many frames that its guest never read were forwarded to the target.",
    )
    drain_error: str = Field(default="", description="On the source: why it forwards nothing.")
    probed_at: datetime | None = Field(
        default=None, description="On the target: when it began to probe the guest by ARP or neighbour discovery."
    )
    answered_at: datetime | None = Field(
        default=None, description="On the target: when the guest answered, or sent anything but its announcement."
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
    public_key: OptionalPublicKey = Field(
        default="", description="Its X25519 public key, in base64: the secrets of its handoffs are agreed on by it."
    )


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
        if self.address == self.mac_address:
            return (
                f"MAC {self.address} is used by a machine outside on {self.segment}; give the NIC another macAddress, "
                "or that machine another MAC"
            )
        return (
            f"{self.address} is used by a machine outside, {self.mac_address} on {self.segment}; "
            "exclude the address in the Subnet and give the VM another, or take it from that machine"
        )


class NodeNetworkStatus(Spec):
    """What the node has. Written by its own daemon."""

    chassis: ChassisName = Field(
        default="", description="The node's chassis name in OVN (Open_vSwitch external_ids:system-id)."
    )
    former_chassis: tuple[ChassisName, ...] = Field(
        default=(),
        max_length=MOST_FORMER_CHASSIS,
        description="Its chassis names of before, the newest last: a node that is installed anew has another.",
    )
    encap_ips: tuple[HostIp, ...] = Field(default=(), description="Addresses of its tunnels.")
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
    nic_policies: dict[str, NicPolicyOnNode] = Field(
        default_factory=dict, description="The NicPolicies of this node, by their names."
    )
    conflicts: dict[str, NodeConflict] = Field(
        default_factory=dict,
        description="Addresses that machines outside have, by namespace/name of the Port that waits for one.",
    )
    seen_addresses: dict[str, tuple[HostIp, ...]] = Field(
        default_factory=dict,
        description="What guests whose addresses the site gives have said that they have, by namespace/name of the "
        "Port.",
    )
    devices: NodeDevices = Field(
        default_factory=NodeDevices, description="What it has for fast NICs, as it was seen last."
    )
    conditions: tuple[Condition, ...] = Field(
        default=(),
        description="Ready; Tunnel: whether the tunnels have the address that the Node asks for; VhostUser: whether "
        "its switch serves vhost-user NICs; ChassisConflict: whether another node has its chassis name; "
        "ChassisMissing: whether OVN does not know its chassis.",
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
            PrinterColumn("Chassis", ".status.chassis"),
            PrinterColumn("Encap", ".status.encapIps[0]"),
            PrinterColumn("Datapath", ".status.datapath"),
            PrinterColumn("Ports", ".status.ports", "integer"),
            PrinterColumn("OVN", ".status.ovnVersion", wide=True),
            PrinterColumn("Gate", ".status.handoff.gate", "boolean", wide=True),
            PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    spec: NodeNetworkSpec = Field(default_factory=NodeNetworkSpec)
    status: NodeNetworkStatus = Field(default_factory=NodeNetworkStatus)

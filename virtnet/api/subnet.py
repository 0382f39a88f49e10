"""Subnet and ClusterSubnet: an address range with gateway, MTU and DHCP."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from ipaddress import collapse_addresses, ip_network
from itertools import product
from typing import ClassVar

from pydantic import Field

from virtnet.api.addresses import Cidr, Ip, IpRange, Network, family
from virtnet.api.grammar import NamespaceName, ProviderNetworkName, ReferenceName, VmName
from virtnet.api.guest import MOST_ROUTES, Dhcp, Dns, Multicast, Route
from virtnet.api.layer2 import PortSecurity, VlanTrunk
from virtnet.api.meta import DELETING_COLUMN, Crd, PrinterColumn, Resource, Spec
from virtnet.api.qos_policy import QosPolicyRef
from virtnet.api.references import SubnetRef, VpcRef
from virtnet.api.subnet_rules import CLUSTER_SUBNET_RULES, SUBNET_RULES
from virtnet.api.subnet_status import SubnetStatus
from virtnet.api.virtual_function import VirtualFunctionSettings

OVERLAY_MTU = 1442
UNDERLAY_MTU = 1500


class Reservation(Spec):
    """An address kept for one VM."""

    address: Ip = Field(description="The address that is kept.")
    vm: VmName = Field(
        description="The VM that it is kept for: its name, or namespace/name in a ClusterSubnet. "
        "It gets the address without asking.",
    )


class SubnetSpec(Spec):
    """An address range. Overlay, or underlay where providerNetwork is set."""

    vpc: VpcRef = Field(default_factory=VpcRef, description="The Vpc that routes between this Subnet and others.")
    cidrs: tuple[Cidr, ...] = Field(
        default=(),
        max_length=2,
        description="The network, or one of each family: every NIC gets an address of each. May become wider, around "
        "the same gateway, and get the other family. An underlay ClusterSubnet without cidrs, and with dhcp.enabled "
        "false, pins MACs alone: the physical network gives its guests their addresses.",
    )
    gateways: tuple[Ip, ...] = Field(
        default=(),
        max_length=2,
        description="The gateway's address in each network: the Vpc's router, or in an underlay without "
        "logicalGateway one of the physical network's machines. Default: the first address of the network.",
    )
    ranges: tuple[IpRange, ...] = Field(
        default=(), max_length=256, description="Where addresses are taken from. Default, for each family: all."
    )
    excludes: tuple[IpRange, ...] = Field(
        default=(), max_length=256, description="Addresses that are never handed out."
    )
    reservations: tuple[Reservation, ...] = Field(
        default=(), max_length=1024, description="Addresses kept for certain VMs."
    )
    mtu: int | None = Field(
        default=None,
        ge=576,
        le=9000,
        description="The MTU of guests. Default: 1442 in an overlay, 58 below the node network's for Geneve; 1500 in "
        "an underlay.",
    )
    dhcp: Dhcp = Field(default_factory=Dhcp, description="DHCP for guests.")
    dns: Dns = Field(default_factory=Dns, description="DNS for guests.")
    routes: tuple[Route, ...] = Field(default=(), max_length=MOST_ROUTES, description="Further routes for guests.")
    allowed_namespaces: tuple[NamespaceName, ...] = Field(
        default=(),
        max_length=1024,
        description="Namespaces that may use a ClusterSubnet; empty for all. Not for a namespaced Subnet.",
    )
    provider_network: ProviderNetworkName = Field(
        default="", description="The ProviderNetwork of an underlay ClusterSubnet; empty for an overlay."
    )
    vlan: int = Field(default=0, ge=0, le=4094, description="The VLAN on the provider network; 0 for untagged.")
    logical_gateway: bool = Field(
        default=False,
        description="Underlay: whether the gateway is the Vpc's router; otherwise it is a machine of the physical "
        "network.",
    )
    router_addresses: tuple[Ip, ...] = Field(
        default=(),
        max_length=2,
        description="Underlay with a physical gateway: addresses of its own for the Vpc's router in this Subnet, one "
        "of a family, so that it and the Vpc's other Subnets reach each other. Without them they do not.",
    )
    conflict_detection: bool = Field(
        default=True,
        description="Underlay: whether nodes ask the physical network for other users of an address before they "
        "attach a NIC that has it.",
    )
    routers: tuple[VmName, ...] = Field(
        default=(),
        max_length=64,
        description="VMs and pods whose NICs may send what only routers and servers send, and is dropped from all "
        "others: router advertisements, redirects, answers to DHCP clients, IGMP and MLD queries. Their names, or "
        "namespace/name in a ClusterSubnet.",
    )
    port_security: PortSecurity = Field(
        default_factory=PortSecurity,
        description="From which MACs and addresses NICs may send. A Subnet has allowedAddresses only.",
    )
    vlan_trunks: tuple[VlanTrunk, ...] = Field(
        default=(),
        max_length=16,
        description="ClusterSubnet: which NICs may send and get frames with VLAN tags, and which tags. Such a NIC may "
        "have any addresses. In an underlay with vlan, that tag comes before theirs.",
    )
    virtual_functions: VirtualFunctionSettings | None = Field(
        default=None, description="Underlay ClusterSubnet: settings of the virtual functions of NICs of kind sriov."
    )
    security_groups: tuple[ReferenceName, ...] = Field(
        default=(),
        max_length=32,
        description="The groups of NICs whose workloads name none. A ClusterSubnet's are ClusterSecurityGroups.",
    )
    multicast: Multicast = Field(default_factory=Multicast, description="IP multicast.")
    qos_policy: QosPolicyRef | None = Field(
        default=None, description="The policy of NICs whose VMs name none. A ClusterSubnet's is a ClusterQosPolicy."
    )
    cooldown_seconds: int = Field(
        default=600,
        ge=0,
        le=86400,
        description="How long a freed address is not handed out again, while others are left.",
    )

    @property
    def assigns_addresses(self) -> bool:
        """Whether NICs get addresses here; otherwise their MACs alone are pinned, and the site has its own DHCP."""
        return bool(self.cidrs)

    def lacking(self, addresses: Collection[str]) -> str:
        """What is wrong with a NIC that has only these addresses; empty for nothing. With none it could send from any,
        which the site has to see to where it gives them itself.
        """
        if addresses or not self.assigns_addresses:
            return ""
        return f"addresses: none; a NIC has one of {' or '.join(self.cidrs)}"

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks of ``cidrs``, in its order."""
        return tuple(ip_network(cidr) for cidr in self.cidrs)

    def overlaps(self, other: "SubnetSpec") -> tuple[Network, Network] | None:
        """A network of this one and a network of the other that have addresses in common."""
        pairs = product(self.networks, other.networks)
        return next((pair for pair in pairs if pair[0].overlaps(pair[1])), None)

    @property
    def underlay(self) -> bool:
        """Whether the guests are on a physical network."""
        return bool(self.provider_network)

    @property
    def physical_gateway(self) -> bool:
        """Whether the gateway is a machine outside, whose address nothing of ours may claim."""
        return self.underlay and not self.logical_gateway

    @property
    def routed(self) -> bool:
        """Whether the Vpc's router has an address in it, so that the Vpc's other Subnets can reach it."""
        return not self.physical_gateway or bool(self.router_addresses)

    @property
    def guest_mtu(self) -> int:
        return self.mtu or (UNDERLAY_MTU if self.underlay else OVERLAY_MTU)

    def guest_routes(self, others: Iterable[str]) -> tuple[Route, ...]:
        """What guests are told to route other than by their gateway.

        ``others`` are the networks of the Vpc's other Subnets that are routed. Where the gateway is outside, it knows
        nothing of them, and the way leads by the router's own address. Networks side by side become one route. They are
        in the order of ``others``, for DHCP may have no room for the last ones.
        """
        explicit = {route.destination for route in self.routes}
        found = list(self.routes)
        for hop in self.router_addresses:
            same = [ip_network(other) for other in others if family(other) == family(hop)]
            found += [
                Route(destination=str(network), gateway=hop)
                for network in _merged(same)
                if str(network) not in explicit
            ]
        return tuple(found)


def _merged(networks: Sequence[Network]) -> list[Network]:
    """Networks of one family, those side by side as one, in the order of the first of each."""
    merged: list[Network] = list(collapse_addresses(networks))  # type: ignore[type-var]
    starts = [int(one.network_address) for one in merged]
    order = dict.fromkeys(bisect_right(starts, int(one.network_address)) - 1 for one in networks)
    return [merged[place] for place in order]


class TenantSubnetSpec(SubnetSpec):
    """An address range of a tenant: in its namespace's own Vpc, where it names no other."""

    vpc: VpcRef = Field(
        default_factory=lambda: VpcRef(kind="Vpc"),
        description="The Vpc that routes between this Subnet and others. Default: Vpc default of its namespace, which "
        "is made where it is missing.",
    )


COLUMNS = (
    PrinterColumn("Vpc", ".spec.vpc.name"),
    PrinterColumn("CIDRs", ".spec.cidrs"),
    PrinterColumn("Gateways", ".status.gateways"),
    PrinterColumn("Used", ".status.used", "integer"),
    PrinterColumn("Available", ".status.available", "integer"),
    PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    PrinterColumn("MTU", ".status.mtu", "integer", wide=True),
    DELETING_COLUMN,
    PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
)


class Subnet(Resource):
    """A tenant's address range."""

    crd: ClassVar[Crd] = Crd(
        plural="subnets",
        short_names=("vsub",),
        columns=COLUMNS,
        rules=SUBNET_RULES,
    )
    spec: TenantSubnetSpec
    status: SubnetStatus = Field(default_factory=SubnetStatus)

    @property
    def ref(self) -> SubnetRef:
        return SubnetRef(kind="Subnet", namespace=self.namespace, name=self.name)


class ClusterSubnet(Resource):
    """An address range for all namespaces, or for those that it allows. Administrators own it."""

    crd: ClassVar[Crd] = Crd(
        plural="clustersubnets",
        short_names=("csub",),
        namespaced=False,
        columns=COLUMNS,
        rules=CLUSTER_SUBNET_RULES,
    )
    spec: SubnetSpec
    status: SubnetStatus = Field(default_factory=SubnetStatus)

    @property
    def ref(self) -> SubnetRef:
        return SubnetRef(kind="ClusterSubnet", name=self.name)

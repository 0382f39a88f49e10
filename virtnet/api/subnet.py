"""Subnet and ClusterSubnet: an address range with gateway, MTU and DHCP."""

from collections.abc import Iterable
from datetime import datetime
from ipaddress import collapse_addresses, ip_network
from itertools import product
from typing import ClassVar

from pydantic import Field

from virtnet.api.addresses import Cidr, Ip, IpRange, Network, family
from virtnet.api.guest import Dhcp, Dns, Multicast, Route
from virtnet.api.meta import Column, Condition, Crd, Resource, Spec
from virtnet.api.references import SubnetRef, VpcRef
from virtnet.api.vpc import NAME_RULES

OVERLAY_MTU = 1442
UNDERLAY_MTU = 1500


class Reservation(Spec):
    """An address kept for one VM."""

    address: Ip = Field(description="The address that is kept.")
    vm: str = Field(
        min_length=1,
        max_length=317,
        description="The VM that it is kept for: its name, or namespace/name in a ClusterSubnet. "
        "It gets the address without asking.",
    )


class Cooling(Spec):
    """A freed address that is not handed out again yet."""

    address: str = Field(description="The address.")
    until: datetime = Field(description="From when on it may be handed out again.")


class SubnetSpec(Spec):
    """An address range. Overlay, or underlay where providerNetwork is set."""

    vpc: VpcRef = Field(default_factory=VpcRef, description="The Vpc that routes between this Subnet and others.")
    cidrs: tuple[Cidr, ...] = Field(
        min_length=1,
        max_length=2,
        description="The network, or one of each family: every NIC gets an address of each. Immutable.",
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
    routes: tuple[Route, ...] = Field(default=(), max_length=64, description="Further routes for guests.")
    allowed_namespaces: tuple[str, ...] = Field(
        default=(),
        max_length=1024,
        description="Namespaces that may use a ClusterSubnet; empty for all. Not for a namespaced Subnet.",
    )
    provider_network: str = Field(
        default="", max_length=63, description="The ProviderNetwork of an underlay ClusterSubnet; empty for an overlay."
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
    multicast: Multicast = Field(default_factory=Multicast, description="IP multicast.")
    cooldown_seconds: int = Field(
        default=600,
        ge=0,
        le=86400,
        description="How long a freed address is not handed out again, while others are left.",
    )

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
        nothing of them, and the way leads by the router's own address. Networks side by side become one route.
        """
        told = {route.destination for route in self.routes}
        found = list(self.routes)
        for hop in self.router_addresses:
            same = [ip_network(other) for other in others if family(other) == family(hop)]
            found += [
                Route(destination=str(network), gateway=hop)
                for network in collapse_addresses(same)  # type: ignore[type-var]  # of one version
                if str(network) not in told
            ]
        return tuple(found)


class SubnetStatus(Spec):
    """How full the Subnet is, and whether OVN has it."""

    gateways: tuple[str, ...] = Field(default=(), description="The gateways in use, in the order of cidrs.")
    mtu: int = Field(default=0, description="The MTU of guests in use.")
    capacity: int = Field(
        default=0, description="How many addresses can be handed out, in the family that has fewest; at most 2^63-1."
    )
    used: int = Field(default=0, description="How many addresses are leased, in the family that has most.")
    available: int = Field(default=0, description="How many more NICs without a reservation can get their addresses.")
    cooling: tuple[Cooling, ...] = Field(default=(), description="Addresses freed lately, at most 256.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        description="Ready; Full: whether no address is left to be handed out; TunnelsTooNarrow, NicsTooNarrow: "
        "whether some nodes do not carry what guests may send.",
    )
    observed_generation: int = Field(default=0, description="The generation that this status was computed from.")


COLUMNS = (
    Column("Vpc", ".spec.vpc.name"),
    Column("CIDRs", ".spec.cidrs"),
    Column("Gateways", ".status.gateways"),
    Column("Used", ".status.used", "integer"),
    Column("Available", ".status.available", "integer"),
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    Column("MTU", ".status.mtu", "integer", wide=True),
    Column("Age", ".metadata.creationTimestamp", "date"),
)
RULES = (
    *NAME_RULES,
    ("self.spec.cidrs == oldSelf.spec.cidrs", "cidrs are immutable: create another Subnet and move the VMs"),
    ("self.spec.vpc == oldSelf.spec.vpc", "vpc is immutable: create another Subnet and move the VMs"),
    (
        "size(self.spec.cidrs) < 2 || !self.spec.cidrs.all(c, isCIDR(c))"
        " || cidr(self.spec.cidrs[0]).ip().family() != cidr(self.spec.cidrs[1]).ip().family()",
        "cidrs must be of different families: one of IPv4, one of IPv6, or one of each",
    ),
    (
        "!has(self.spec.gateways) || size(self.spec.gateways) < 2 || !self.spec.gateways.all(g, isIP(g))"
        " || ip(self.spec.gateways[0]).family() != ip(self.spec.gateways[1]).family()",
        "gateways must be of different families: one for each of cidrs",
    ),
    (
        "!has(self.spec.gateways) || !self.spec.cidrs.all(c, isCIDR(c)) || self.spec.gateways.all(g, !isIP(g) ||"
        " self.spec.cidrs.exists(c, cidr(c).containsIP(g) && c.split('/')[0] != g))",
        "each of gateways must be a host address of one of cidrs",
    ),
    (
        "!has(self.spec.mtu) || self.spec.mtu >= 1280 || self.spec.cidrs.all(c, cidr(c).ip().family() == 4)",
        "mtu must be at least 1280 where there is IPv6",
    ),
)


class Subnet(Resource):
    """A tenant's address range."""

    crd: ClassVar[Crd] = Crd(
        plural="subnets",
        short_names=("vsub",),
        columns=COLUMNS,
        rules=(
            *RULES,
            (
                "!has(self.spec.allowedNamespaces) || size(self.spec.allowedNamespaces) == 0",
                "allowedNamespaces is for a ClusterSubnet: a Subnet serves its own namespace",
            ),
            (
                "!has(self.spec.providerNetwork) || self.spec.providerNetwork == ''",
                "only a ClusterSubnet may name a providerNetwork",
            ),
            ("!has(self.spec.vlan) || self.spec.vlan == 0", "vlan is for a ClusterSubnet with a providerNetwork"),
            (
                "(!has(self.spec.logicalGateway) || !self.spec.logicalGateway)"
                " && (!has(self.spec.routerAddresses) || size(self.spec.routerAddresses) == 0)",
                "logicalGateway and routerAddresses are for a ClusterSubnet with a providerNetwork",
            ),
        ),
    )
    spec: SubnetSpec
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
        rules=(
            *RULES,
            ("!has(self.spec.vpc) || self.spec.vpc.kind == 'ClusterVpc'", "a ClusterSubnet lies in a ClusterVpc"),
            (
                "(has(self.spec.providerNetwork) && self.spec.providerNetwork != '') || self.spec.vlan == 0",
                "vlan needs a providerNetwork",
            ),
            (
                "(has(self.spec.providerNetwork) && self.spec.providerNetwork != '')"
                " || ((!has(self.spec.logicalGateway) || !self.spec.logicalGateway)"
                " && (!has(self.spec.routerAddresses) || size(self.spec.routerAddresses) == 0))",
                "logicalGateway and routerAddresses need a providerNetwork: an overlay's gateway is the Vpc's router",
            ),
            (
                "!has(self.spec.logicalGateway) || !self.spec.logicalGateway"
                " || !has(self.spec.routerAddresses) || size(self.spec.routerAddresses) == 0",
                "with logicalGateway the router has the gateway's address: remove routerAddresses",
            ),
        ),
    )
    spec: SubnetSpec
    status: SubnetStatus = Field(default_factory=SubnetStatus)

    @property
    def ref(self) -> SubnetRef:
        return SubnetRef(kind="ClusterSubnet", name=self.name)

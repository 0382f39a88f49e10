"""What has become of a Subnet or ClusterSubnet."""

from datetime import datetime

from pydantic import Field

from virtnet.api.meta import Condition, Spec


class Cooling(Spec):
    """A freed address that is not handed out again yet."""

    address: str = Field(description="The address.")
    until: datetime = Field(description="From when on it may be handed out to others.")
    port: str = Field(default="", description="The Port that had it, which may have it again at once.")


class FormerAddress(Spec):
    """An address that the Vpc's router had in a Subnet, and that it still answers for."""

    address: str = Field(description="The address.")
    until: datetime = Field(description="Until when: by then, VMs have learnt the new one by DHCP.")


class SubnetStatus(Spec):
    """How full the Subnet is, and whether OVN has it."""

    gateways: tuple[str, ...] = Field(default=(), description="The gateways in use, in the order of cidrs.")
    mtu: int = Field(default=0, description="The MTU of guests in use.")
    router_addresses: tuple[str, ...] = Field(
        default=(), description="The addresses of the Vpc's router in the Subnet."
    )
    former_addresses: tuple[FormerAddress, ...] = Field(
        default=(),
        description="Addresses that the router had before a change, and still answers for: guests use them until they "
        "renew their leases. Nobody gets one meanwhile.",
    )
    capacity: int | None = Field(
        default=None,
        description="How many addresses can be handed out, in the family that has fewest; at most 2^63-1. Absent "
        "where there are no cidrs.",
    )
    used: int = Field(
        default=0,
        description="How many addresses are leased, in the family that has most; where there are no cidrs, how many "
        "MACs.",
    )
    available: int | None = Field(
        default=None,
        description="How many more NICs without a reservation can get their addresses. Absent where there are no "
        "cidrs.",
    )
    cooling: tuple[Cooling, ...] = Field(default=(), description="Addresses freed lately, at most 256.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        description="Ready; Full: whether no address is left to be handed out; TunnelMtuTooSmall, NicMtuTooSmall: "
        "whether some nodes do not carry what guests may send; RoutesLeftOut: whether DHCP has no room for all routes; "
        "QosPolicyMissing.",
    )
    observed_generation: int = Field(default=0, description="The generation that this status was computed from.")

"""What a Subnet's guests are told, and what is done for them."""

from pydantic import ConfigDict, Field

from virtnet.api.addresses import Destination, Ip
from virtnet.api.grammar import BootFileName, DomainName, HostName
from virtnet.api.meta import Spec


class Dns(Spec):
    """What guests learn about DNS."""

    servers: tuple[Ip, ...] = Field(
        default=(), max_length=6, description="Addresses of DNS servers. DHCP tells those of its own family."
    )
    domain: DomainName = Field(default="", description="The search domain.")


class Dhcp(Spec):
    """How guests get their addresses. OVN answers on the node; there is no server to run."""

    enabled: bool = Field(
        default=True, description="Whether OVN answers DHCPv4 and DHCPv6 in this Subnet, and advertises its router."
    )
    lease_seconds: int = Field(default=3600, ge=60, le=4294967295, description="The lease time that guests are told.")

    boot_file_name: BootFileName = Field(
        default="", description="The file that guests boot from the network (DHCPv4, option 67)."
    )
    tftp_server: DomainName = Field(
        default="",
        description="The server that has it: an IPv4 address (siaddr, too) or a name (option 66).",
    )
    ntp_servers: tuple[Ip, ...] = Field(
        default=(), max_length=6, description="Addresses of time servers; DHCPv4 tells those of IPv4 (option 42)."
    )


class GuestDhcp(Spec):
    """What DHCPv4 tells one guest, beside or in place of what it tells all of a Subnet."""

    hostname: HostName = Field(default="", description="The guest's name (option 12).")
    boot_file_name: BootFileName = Field(default="", description="The file that it boots (option 67).")
    tftp_server: DomainName = Field(default="", description="The server that has it (option 66).")
    ntp_servers: tuple[Ip, ...] = Field(default=(), max_length=6, description="Its time servers (option 42).")
    proxy_url: BootFileName = Field(default="", description="Where its proxy's configuration is (option 252).")

    @property
    def own_options(self) -> bool:
        """Whether it is told anything but its name otherwise than others."""
        return bool(self.boot_file_name or self.tftp_server or self.ntp_servers or self.proxy_url)


MOST_ROUTES = 64
"""Of one Subnet, or of one NIC; DHCP has room for fewer."""


class Route(Spec):
    """A route that guests get by DHCPv4, and ordinary pods in both families."""

    destination: Destination = Field(description="The network to reach.")
    gateway: Ip = Field(description="The next hop, an address of this Subnet.")


class Multicast(Spec):
    """How IP multicast is treated. Without snooping it is flooded to every NIC of the Subnet."""

    # Not among the rules of a whole Subnet: those would be held against every write of the status of one that was
    # stored before there was the rule. What has not changed itself, the API server lets be.
    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.querier) || !self.querier || self.snooping",
                    "message": "multicast.querier needs multicast.snooping: nothing would listen to the answers",
                },
                {
                    "rule": "!has(self.querierAddress)"
                    " || (has(self.querier) && self.querier && ip(self.querierAddress).family() == 4)",
                    "message": "multicast.querierAddress needs multicast.querier and must be IPv4: "
                    "IPv6 is asked from a link-local address",
                },
            ]
        }
    )

    snooping: bool = Field(
        default=False, description="Whether OVN learns from IGMP and MLD reports which NICs want which groups."
    )
    querier: bool = Field(
        default=False,
        description="Whether OVN asks for reports itself; needed where no multicast router does. Needs snooping.",
    )
    querier_address: Ip | None = Field(
        default=None,
        description="The source of IGMP queries. Default: the Vpc's router in this Subnet; an underlay where that has "
        "no address needs one of its own. MLD queries come from a link-local address.",
    )

"""IP multicast on a Subnet's switch: snooping, and who asks for reports (ovn-nb(5), Logical_Switch other_config)."""

from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface

from virtnet.api import ClusterSubnet, Subnet
from virtnet.api.addresses import family, mac_octets

_UNIVERSAL = 0x02


def multicast_config(
    subnet: Subnet | ClusterSubnet, mac: str, routers: Iterable[IPv4Interface | IPv6Interface]
) -> dict[str, str]:
    """The keys of the switch's other_config; none without snooping.

    Queries come from the Vpc's router, or from the address that the Subnet gives them: never from a physical gateway's,
    which would be believed to have sent them.
    """
    multicast = subnet.spec.multicast
    if not multicast.snooping:
        return {}
    # One in IPv6 may have been stored before it was refused; northd would read it as no address, and nobody be asked.
    addresses = (multicast.querier_address, *(str(one.ip) for one in routers))
    v4 = next((one for one in addresses if one and family(one) == "IPv4"), "")
    networks = subnet.spec.networks
    has_v4 = not networks or any(network.version == 4 for network in networks)  # what the site has is not known
    if not multicast.querier or (has_v4 and not v4):
        return {"mcast_snoop": "true", "mcast_querier": "false"}
    return {
        "mcast_snoop": "true",
        "mcast_querier": "true",
        "mcast_eth_src": mac,
        **({"mcast_ip4_src": v4} if has_v4 else {}),
        "mcast_ip6_src": str(link_local(mac)),
    }


def link_local(mac: str) -> IPv6Address:
    """The link-local address of a MAC (RFC 4291, modified EUI-64).

    >>> link_local("0a:00:00:00:00:01")
    IPv6Address('fe80::800:ff:fe00:1')
    """
    octets = mac_octets(mac)
    return IPv6Address(
        b"\xfe\x80" + bytes(6) + bytes([octets[0] ^ _UNIVERSAL]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    )

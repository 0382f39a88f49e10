"""IP multicast on a Subnet's switch: snooping, and who asks for reports (ovn-nb(5), Logical_Switch other_config)."""

from ipaddress import IPv4Address, IPv6Address

from virtnet.api import ClusterSubnet, Subnet

_UNIVERSAL = 0x02


def multicast_config(subnet: Subnet | ClusterSubnet, mac: str, router: IPv4Address | None) -> dict[str, str]:
    """The keys of the switch's other_config; none without snooping.

    Queries come from the Vpc's router, or from the address that the Subnet gives them: never from a physical gateway's,
    which would be believed to have sent them.
    """
    multicast = subnet.spec.multicast
    if not multicast.snooping:
        return {}
    source = multicast.querier_address or (str(router) if router else "")
    if not multicast.querier or not source:
        return {"mcast_snoop": "true", "mcast_querier": "false"}
    return {
        "mcast_snoop": "true",
        "mcast_querier": "true",
        "mcast_eth_src": mac,
        "mcast_ip4_src": source,
        "mcast_ip6_src": str(link_local(mac)),
    }


def link_local(mac: str) -> IPv6Address:
    """The link-local address of a MAC (RFC 4291, modified EUI-64).

    >>> link_local("0a:00:00:00:00:01")
    IPv6Address('fe80::800:ff:fe00:1')
    """
    octets = bytes.fromhex(mac.replace(":", ""))
    return IPv6Address(
        b"\xfe\x80" + bytes(6) + bytes([octets[0] ^ _UNIVERSAL]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    )

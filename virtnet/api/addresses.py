"""Addresses of both families: how manifests write them, and the one form that everything else knows them by."""

from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Annotated

from pydantic import Field

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

Cidr = Annotated[
    str,
    Field(
        max_length=43,
        examples=["10.10.0.0/24"],
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "isCIDR(self) && cidr(self) == cidr(self).masked() && cidr(self).ip().isGlobalUnicast()"
                    " && (cidr(self).ip().family() == 4"
                    " ? cidr(self).prefixLength() >= 8 && cidr(self).prefixLength() <= 30"
                    " : cidr(self).prefixLength() >= 64 && cidr(self).prefixLength() <= 126)",
                    "message": "must be a unicast network such as 10.10.0.0/24 or fd00:10::/64,"
                    " prefix 8 to 30 in IPv4, 64 to 126 in IPv6, no host bits set",
                }
            ]
        },
    ),
]
Ip = Annotated[
    str,
    Field(
        max_length=39,
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "isIP(self) && ip(self).isGlobalUnicast()",
                    "message": "must be a unicast address such as 10.10.0.1 or fd00:10::1",
                }
            ]
        },
    ),
]
IpRange = Annotated[
    str,
    Field(
        max_length=79,
        examples=["10.10.0.10-10.10.0.99", "10.10.0.200"],
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "self.matches('^[0-9a-fA-F:.]+(-[0-9a-fA-F:.]+)?$')",
                    "message": "must be an address (10.10.0.200) or a range (10.10.0.10-10.10.0.99)",
                }
            ]
        },
    ),
]
Destination = Annotated[
    str,
    Field(
        max_length=43,
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "isCIDR(self) && cidr(self) == cidr(self).masked()",
                    "message": "must be a network such as 192.168.0.0/16 or fd00:20::/48, no host bits set",
                }
            ]
        },
    ),
]


def is_mac(address: str) -> bool:
    """Whether an address of a lease is a MAC.

    >>> is_mac("02:00:00:00:00:01"), is_mac("fd00::1:2:3:4"), is_mac("10.0.0.5")
    (True, False, False)
    """
    return len(address) == 17 and address[2::3] == ":::::"


def family(address: str) -> str:
    """IPv4, IPv6 or MAC: what an address of a lease is."""
    return "MAC" if is_mac(address) else "IPv6" if ":" in address else "IPv4"


def canonical(text: str) -> str:
    """An IP address in the form that everything but manifests knows it by; what is none stays as it is.

    >>> canonical("2001:DB8:0::1"), canonical("10.0.0.5"), canonical("ten")
    ('2001:db8::1', '10.0.0.5', 'ten')
    """
    try:
        return str(ip_address(text))
    except ValueError:
        return text


def exploded(address: str) -> str:
    """An IPv6 address at full length; all else as it is.

    >>> exploded("fd00::1")
    'fd00:0000:0000:0000:0000:0000:0000:0001'
    """
    if ":" not in address or is_mac(address):
        return address
    try:
        return IPv6Address(address).exploded
    except AddressValueError:
        return address

"""Addresses of both families: how manifests write them, and the one form that everything else knows them by."""

from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Annotated

from pydantic import Field

from virtnet.api.grammar import CIDR, HOST_ADDRESS, IP_RANGE, UNICAST_CIDR, UNICAST_IP
from virtnet.api.remembered import remembered

MOST_ADDRESSES = 16
"""That may be asked for one NIC. It has one of each family; who asks for one twice, or in two forms, is understood."""

MOST_SEEN = 16
"""That are kept of what one guest says that it has."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

Cidr = Annotated[str, Field(max_length=43, examples=["10.10.0.0/24"]), UNICAST_CIDR]
Ip = Annotated[str, Field(max_length=39), UNICAST_IP]
IpRange = Annotated[str, Field(max_length=79, examples=["10.10.0.10-10.10.0.99", "10.10.0.200"]), IP_RANGE]
Destination = Annotated[str, Field(max_length=43), CIDR]


def within(inner: Network, outer: Network) -> bool:
    """Whether a network is a part of another, or all of it; one of the other family is not."""
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # of one version


def is_mac(address: str) -> bool:
    """Whether an address of a lease is a MAC.

    >>> is_mac("02:00:00:00:00:01"), is_mac("fd00::1:2:3:4"), is_mac("10.0.0.5")
    (True, False, False)
    """
    return len(address) == 17 and address[2::3] == ":::::"


def mac_octets(mac: str) -> bytes:
    """The six bytes of a MAC that is written with colons.

    >>> mac_octets("02:00:00:00:00:0a").hex()
    '02000000000a'
    """
    return bytes.fromhex(mac.replace(":", ""))


def family(address: str) -> str:
    """IPv4, IPv6 or MAC: what an address of a lease is."""
    return "MAC" if is_mac(address) else "IPv6" if ":" in address else "IPv4"


def is_ipv4(text: str) -> bool:
    """Whether a text is an IPv4 address.

    >>> is_ipv4("10.0.0.5"), is_ipv4("fd00::5"), is_ipv4("boot.example")
    (True, False, False)
    """
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def canonical(text: str) -> str:
    """An IP address in the form that everything but manifests knows it by; what is none stays as it is.

    >>> canonical("2001:DB8:0::1"), canonical("10.0.0.5"), canonical("ten")
    ('2001:db8::1', '10.0.0.5', 'ten')
    """
    try:
        return str(ip_address(text))
    except ValueError:
        return text


@remembered(4096)  # every address is asked for many times over, one after the other
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


def seen(texts: Iterable[object]) -> tuple[str, ...]:
    """The addresses of hosts among what a guest says that it has: in canonical form and in order, at most MOST_SEEN.

    >>> seen(["fd00::0:5", "10.0.0.12", "10.0.0.5", "fe80::1", "10.0.0.5", "; drop", 7])
    ('10.0.0.5', '10.0.0.12', 'fd00::5')
    """
    found = {canonical(text) for text in texts if isinstance(text, str)}
    hosts = map(ip_address, filter(HOST_ADDRESS.permits, found))
    return tuple(map(str, sorted(hosts, key=lambda one: (one.version, int(one)))[:MOST_SEEN]))

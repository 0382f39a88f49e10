"""The types of strings: what each may be, for the API server and for who compiles what is stored already.

Whatever a manifest says can reach an action, a match or an option of OVN, a file or a URL. So every string field of a
``spec`` is of one of these types; ``virtnet.api.strings`` refuses a model that has a plain one. The CRDs hold new
objects to them by CEL. Models are read without, so that an object stored before a rule is still known: whoever compiles
rows from one calls ``strings.check``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Annotated, Any

from pydantic import Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from virtnet.api.remembered import remembered

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}([.]{_LABEL})*"
_DNS_LABEL = "[A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?"
_DOMAIN = rf"{_DNS_LABEL}([.]{_DNS_LABEL})*[.]?"
_NIC_MAC = "[0-9a-f][02468ace](:[0-9a-f]{2}){5}"
_NO_MAC = "00:00:00:00:00:00"
_BOOT_FILE = "[-A-Za-z0-9._~:/?=&%+@]+"


class Ungrammatical(ValueError):  # noqa: N818 - says what the object is
    """A string that is not of its field's type; the text says which field, its value and what it must be."""


@dataclass(frozen=True)
class Grammar:
    """What the strings of a type may be. Within Annotated: pydantic gives its rule to the CRD."""

    rule: str
    """In CEL, of ``self``; empty: the schema says it already, or nobody but virtnet writes the field."""
    accepts: Callable[[str], object]
    """The same here, by its truth; without effects, and for any string."""
    must: str
    """What is said of any other: "must be ..."."""
    empty: bool = False
    """Whether it may be empty, for "none"."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        if not self.rule:
            return schema
        rule = f"self == '' || {self.rule}" if self.empty else self.rule
        return {**schema, "x-kubernetes-validations": [{"rule": rule, "message": self.must}]}

    def check(self, text: str, what: str) -> None:
        """Raises Ungrammatical, with ``what`` the text is."""
        if not self.permits(text):
            raise Ungrammatical(f"{what}: {text!r} {self.must}")

    def permits(self, text: str) -> bool:
        return bool((self.empty and not text) or self.accepts(text))


def pattern(expression: str, must: str, *, empty: bool = False) -> Grammar:
    """A grammar that is a regular expression, in what RE2 and Python have in common."""
    return Grammar(f"self.matches('^{expression}$')", re.compile(expression).fullmatch, must, empty)


def internal(expression: str, must: str, *, empty: bool = False) -> Grammar:
    """The same for fields that only virtnet writes, or that are too many for a CEL rule each."""
    return Grammar("", re.compile(expression).fullmatch, must, empty)


def _ip(text: str) -> bool:
    """Neither with a zone, which may be any text, nor IPv4 written as IPv6: the API server's isIP is no wider."""
    return _parsed(text) is not None


@remembered(4096)
def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and (address.scope_id is not None or address.ipv4_mapped is not None):
        return None
    return address


@remembered(4096)  # the same one is checked by all who compile a part of a Port
def _host_address(text: str) -> bool:
    """One host's address in canonical form: no network, which port security would take for all of its addresses."""
    address = _parsed(text)
    if address is None or str(address) != text or text == "255.255.255.255":
        return False
    return not (address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local)


def _interface_address(text: str) -> bool:
    address, slash, length = text.partition("/")
    return _host_address(address) and bool(slash) and length in map(str, range(ip_address(address).max_prefixlen + 1))


def _nic_mac(text: str) -> bool:
    return bool(re.fullmatch(_NIC_MAC, text)) and text != _NO_MAC


@remembered(4096)
def _cidr(text: str) -> bool:
    address, _, prefix = text.partition("/")
    if not _ip(address) or not re.fullmatch("[0-9]{1,3}", prefix):
        return False
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


DOMAIN_NAME = pattern(
    _DOMAIN, "must be a domain name such as demo.example: letters, digits, '-' and '_', dots between labels", empty=True
)
HOST_NAME = pattern(
    "[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?", "must be a host's name: letters, digits and '-'", empty=True
)
BOOT_FILE = Grammar(
    f"self.matches('^{_BOOT_FILE}$') && !self.contains('..')",
    lambda text: bool(re.fullmatch(_BOOT_FILE, text)) and ".." not in text,
    "must be a file's name, path or URL: no space, comma, quote, backslash or '..'",
    empty=True,
)
LABEL = internal(_LABEL, "must be a name of small letters, digits and '-'")
OBJECT_NAME = internal(_SUBDOMAIN, "must be an object's name: small letters, digits, '-' and '.'")
NAMESPACED_NAME = internal(rf"{_SUBDOMAIN}/{_SUBDOMAIN}", "must be namespace/name")
NETWORK_NAME = internal(r"[^/:\x00-\x20\x7f]+", "must be a network's name: no slash, colon, space or control character")

CHASSIS_NAME = pattern(
    "[A-Za-z0-9._:-]+", "must be a chassis' name: letters, digits, '.', '_', ':' and '-'", empty=True
)
PUBLIC_KEY = internal("[A-Za-z0-9+/]{43}=", "must be an X25519 public key in base64")
ANY_TEXT = Grammar("", lambda _: True, "")
HOST_IP = Grammar("", _ip, "must be an IP address")
HOST_ADDRESS = Grammar(
    "isIP(self) && ip.isCanonical(self) && ip(self).isGlobalUnicast()",
    _host_address,
    "must be one host's address in canonical form, such as 10.10.0.5 or fd00:10::5",
)
INTERFACE_ADDRESS = Grammar("", _interface_address, "must be one host's address with its prefix length")
NIC_MAC = Grammar(
    f"self.matches('^{_NIC_MAC}$') && self != '{_NO_MAC}'",
    _nic_mac,
    "must be a MAC of one NIC: unicast, lower case, with colons",
)
LEASED_ADDRESS = Grammar(
    f"({HOST_ADDRESS.rule}) || ({NIC_MAC.rule})",
    lambda text: _host_address(text) or _nic_mac(text),
    "must be one host's address in canonical form, or a NIC's MAC in lower case",
)
UNICAST_IP = Grammar(
    "isIP(self) && ip(self).isGlobalUnicast()", _ip, "must be a unicast address such as 10.10.0.1 or fd00:10::1"
)
UNICAST_CIDR = Grammar(
    "isCIDR(self) && cidr(self) == cidr(self).masked() && cidr(self).ip().isGlobalUnicast()"
    " && (cidr(self).ip().family() == 4"
    " ? cidr(self).prefixLength() >= 8 && cidr(self).prefixLength() <= 30"
    " : cidr(self).prefixLength() >= 64 && cidr(self).prefixLength() <= 126)",
    _cidr,
    "must be a unicast network such as 10.10.0.0/24 or fd00:10::/64,"
    " prefix 8 to 30 in IPv4, 64 to 126 in IPv6, no host bits set",
)
CIDR = Grammar(
    "isCIDR(self) && cidr(self) == cidr(self).masked()",
    _cidr,
    "must be a network such as 192.168.0.0/16 or fd00:20::/48, no host bits set",
)
IP_RANGE = pattern(
    "[0-9a-fA-F:.]+(-[0-9a-fA-F:.]+)?", "must be an address (10.10.0.200) or a range (10.10.0.10-10.10.0.99)"
)
INTERFACE_NAME = Grammar(
    "self.matches('^[^/:%[:space:][:cntrl:]]+$') && self != '.' && self != '..'",
    lambda text: bool(re.fullmatch(r"[^/:%\x00-\x20\x7f]{1,15}", text)) and text not in (".", ".."),
    "must be an interface's name such as eth1: no slash, colon, percent sign or space",
)

DEVICE_ADDRESS = pattern(
    "([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}[.][0-7]|[a-z0-9_-]+/[A-Za-z0-9_.:-]+)",
    "must be a device's address such as 0000:3b:00.0, as virtnet node devices prints it",
)
VENDOR_ID = pattern("[0-9a-f]{4}", "must be a PCI vendor id of four small hexadecimal digits, such as 8086")
DRIVER_NAME = pattern("[A-Za-z0-9_][A-Za-z0-9_-]*", "must be a driver's name such as ice")

DomainName = Annotated[str, Field(max_length=253), DOMAIN_NAME]
HostName = Annotated[str, Field(max_length=63), HOST_NAME]
BootFileName = Annotated[str, Field(max_length=127), BOOT_FILE]
NetworkCidr = Annotated[str, Field(max_length=43), CIDR]
PeerCidr = Annotated[str, Field(max_length=43), replace(CIDR, rule="")]
ReferenceName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    pattern(_LABEL, "must be an object's name: small letters, digits and '-', no dots"),
]
NamespaceName = Annotated[str, Field(max_length=63), LABEL]
OptionalNamespaceName = Annotated[str, Field(max_length=63), replace(LABEL, empty=True)]
ProviderNetworkName = Annotated[
    str,
    Field(max_length=63),
    pattern(_SUBDOMAIN, "must be a ProviderNetwork's name: small letters, digits, '-' and '.'", empty=True),
]
VmName = Annotated[
    str,
    Field(min_length=1, max_length=317),
    pattern(rf"({_LABEL}/)?{_SUBDOMAIN}", "must be a VM's name, or namespace/name"),
]
NodeName = Annotated[str, Field(max_length=253), OBJECT_NAME]
ObjectName = Annotated[str, Field(max_length=253), OBJECT_NAME]
DeviceAddress = Annotated[str, Field(max_length=64), DEVICE_ADDRESS]
VendorId = Annotated[str, Field(max_length=4), VENDOR_ID]
DriverName = Annotated[str, Field(min_length=1, max_length=63), DRIVER_NAME]
OptionalObjectName = Annotated[str, Field(max_length=253), replace(OBJECT_NAME, empty=True)]
NamespacedName = Annotated[str, Field(max_length=317), NAMESPACED_NAME]
NetworkName = Annotated[str, Field(max_length=253), NETWORK_NAME]
NicMac = Annotated[str, Field(max_length=17), NIC_MAC]
HostIp = Annotated[str, Field(max_length=39), HOST_IP]
HostAddress = Annotated[str, Field(max_length=39), HOST_ADDRESS]
InterfaceAddress = Annotated[str, Field(max_length=43), INTERFACE_ADDRESS]
LeasedAddress = Annotated[str, Field(max_length=39), LEASED_ADDRESS]
UID = internal("[A-Za-z0-9-]+", "must be a UID")
Uid = Annotated[str, Field(max_length=64), UID]
OptionalUid = Annotated[str, Field(max_length=64), replace(UID, empty=True)]
PublicKey = Annotated[str, Field(max_length=44), PUBLIC_KEY]
OptionalPublicKey = Annotated[str, Field(max_length=44), replace(PUBLIC_KEY, empty=True)]
ChassisName = Annotated[str, Field(max_length=253), CHASSIS_NAME]
Label = Annotated[str, internal("[A-Za-z0-9./_-]*", "must be a label's key or value")]
Prose = Annotated[str, ANY_TEXT]
"""For people: what never leaves Kubernetes."""

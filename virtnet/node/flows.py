"""Flows of a bridge, and their fields as OpenFlow 1.3 has them."""

import struct
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

from virtnet.api.addresses import mac_octets
from virtnet.node.frames import ICMPV6, IPV6

_IN_PORT, _METADATA, _ETH_DST, _ETH_SRC, _ETH_TYPE, _VLAN, _IP_PROTO, _ICMPV6_TYPE = 0, 2, 3, 4, 5, 6, 10, 29
_VID, _TAGGED = 0xFFF, 0x1000
"""The bits of a VLAN's number, and the one that says that there is a tag."""
_OXM, _NXM = 0x8000, 0x0001
_NXM_FRAGMENT, _NXM_TTL = 26, 29
"""Open vSwitch's own fields, which OpenFlow has no others for."""
SOURCE = struct.pack("!HBB", _OXM, _ETH_SRC << 1, 6)
"""With what a field begins that is a source MAC."""


Match = tuple[int, frozenset[bytes]]
"""Priority and fields of a flow."""


class MaskedVlan(NamedTuple):
    """VLANs whose numbers have the bits of ``vid`` where ``mask`` has ones."""

    vid: int
    mask: int


@dataclass(frozen=True)
class Flow:
    """Frames that a bridge drops, or switches as it does without any flow."""

    priority: int
    _: KW_ONLY
    in_port: int = 0
    """0: any."""
    destination: str = ""
    """A MAC address, as the source; empty: any."""
    source: str = ""
    icmpv6: int | None = None
    """A type of ICMPv6 messages."""
    fragment_hop_limit: int = 0
    """The hop limit of an IPv6 packet's fragments; 0: any packet."""
    protocol: int = 0
    """What an IPv6 packet, or such a fragment, is of; 0: any."""
    vlans: MaskedVlan | None = None
    """The outer tags that a frame may have; None: all, and none."""
    drop: bool = True

    @property
    def match(self) -> Match:
        """As that of an installed flow."""
        return self.installed.match

    @property
    def installed(self) -> "Installed":
        """As a bridge has it in its first table, but for what it does."""
        return Installed(0, self.priority, fields_of(self), b"")


@dataclass(frozen=True)
class Installed:
    """A flow of a bridge. Its fields and instructions are as OpenFlow has them."""

    table: int
    priority: int
    fields: bytes
    instructions: bytes

    @property
    def match(self) -> Match:
        """By which a bridge tells it from others."""
        return self.priority, frozenset(self.each_field())

    @property
    def in_port(self) -> int:
        """0: any."""
        head = struct.pack("!HBB", _OXM, _IN_PORT << 1, 4)
        return next((int.from_bytes(one[4:]) for one in self.each_field() if one.startswith(head)), 0)

    def each_field(self) -> Iterator[bytes]:
        """Its fields, one by one."""
        return _each_field(self.fields)


def metadata(value: int) -> bytes:
    """A field: OVN has the key of a datapath there."""
    return struct.pack("!HBBQ", _OXM, _METADATA << 1, 8, value)


def register(number: int, value: int) -> bytes:
    """A field of Open vSwitch's own: OVN has the keys of the ports by which a packet comes and goes in 14 and 15."""
    return struct.pack("!HBBI", _NXM, number << 1, 4, value)


def fields_of(flow: Flow) -> bytes:
    """Those of a flow as OpenFlow has them, each after those it depends on. Raises ValueError for what is no MAC."""
    fields = []
    if flow.in_port:
        fields.append(_field(_IN_PORT, flow.in_port.to_bytes(4)))
    if flow.destination:
        fields.append(_field(_ETH_DST, mac_octets(flow.destination)))
    if flow.source:
        fields.append(_field(_ETH_SRC, mac_octets(flow.source)))
    if flow.vlans is not None:
        vid, mask = (struct.pack("!H", _TAGGED | one) for one in flow.vlans)
        fields.append(_field(_VLAN, vid, b"" if flow.vlans.mask == _VID else mask))
    protocol = flow.protocol if flow.icmpv6 is None else ICMPV6
    if protocol or flow.fragment_hop_limit:
        fields.append(_field(_ETH_TYPE, IPV6.to_bytes(2)))
    if protocol:
        fields.append(_field(_IP_PROTO, protocol.to_bytes()))
    if flow.icmpv6 is not None:
        fields.append(_field(_ICMPV6_TYPE, flow.icmpv6.to_bytes()))
    if flow.fragment_hop_limit:
        fields.append(struct.pack("!HBBBB", _NXM, _NXM_FRAGMENT << 1 | 1, 2, 1, 1))  # the first bit: any fragment
        fields.append(struct.pack("!HBBB", _NXM, _NXM_TTL << 1, 1, flow.fragment_hop_limit))
    return b"".join(fields)


def _field(number: int, value: bytes, mask: bytes = b"") -> bytes:
    return struct.pack("!HBB", _OXM, number << 1 | bool(mask), len(value + mask)) + value + mask


def _each_field(fields: bytes) -> Iterator[bytes]:
    rest = fields
    while rest:
        end = 4 + rest[3]
        yield rest[:end]
        rest = rest[end:]

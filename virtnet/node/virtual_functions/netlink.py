"""The knobs of virtual functions by rtnetlink (linux/if_link.h): read, and set one at a time."""

import struct
from collections.abc import Iterator
from typing import cast

from virtnet.api.virtual_function import VfLinkState, VlanProtocol
from virtnet.node.route_socket import ACK, ERROR, RouteSocket, refusal
from virtnet.node.rtattr import attributes_of, packed
from virtnet.node.virtual_functions.knobs import Knob, Knobs, TxRates, Vlan

_NEW, _GET, _SET = 16, 18, 19
_HEADER = struct.Struct("=BxHiII")
"""An ifinfomsg: family, type, index, flags, change."""
_VFINFO_LIST, _EXT_MASK = 22, 29
_WITH_VFS, _WITHOUT_STATISTICS = 1, 8
_VF_INFO = 1
_MAC, _VLAN, _SPOOF_CHECK, _LINK_STATE, _RATE, _TRUST, _VLAN_LIST = 1, 2, 4, 5, 6, 9, 12
_VLAN_INFO = 1
_LONGEST_MAC = 32

_PROTOCOLS: dict[VlanProtocol, int] = {"802.1Q": 0x8100, "802.1ad": 0x88A8}
_LINK_STATES: tuple[VfLinkState, ...] = ("Auto", "Enable", "Disable")


class VfSocket(RouteSocket):
    """In the network namespace of the calling thread."""

    def read(self, physical: int, number: int) -> Knobs | None:
        """What a physical function, by its interface's index, has set for a virtual one; None where it does not tell.

        Raises OSError.
        """
        mask = packed({_EXT_MASK: struct.pack("=I", _WITH_VFS | _WITHOUT_STATISTICS)})
        self.send(_GET, 0, _HEADER.pack(0, 0, physical, 0, 0) + mask)
        for kind, data in self.answers():
            if kind == ERROR and (refused := refusal(data)):
                raise refused
            if kind == _NEW:
                return knobs(data, number)
        return None

    def set(self, physical: int, number: int, knob: Knob, wanted: Knobs) -> None:
        """Raises OSError where the driver refuses it."""
        self.send(_SET, ACK, setting(physical, number, knob, wanted))
        for kind, data in self.answers():
            if kind == ERROR:
                if refused := refusal(data):
                    raise refused
                return


def setting(physical: int, number: int, knob: Knob, wanted: Knobs) -> bytes:
    """The body of the request that sets one knob."""
    kind, value = _value(struct.pack("=I", number), knob, wanted)
    function = packed({_VF_INFO: packed({kind: value})})
    return _HEADER.pack(0, 0, physical, 0, 0) + packed({_VFINFO_LIST: function})


def knobs(link: bytes, number: int) -> Knobs | None:
    """The knobs of one virtual function in the kernel's message about its physical one; None where it has none."""
    functions = dict(attributes_of(link[_HEADER.size :])).get(_VFINFO_LIST, b"")
    for _, function in attributes_of(functions):
        told = dict(attributes_of(function))
        if _MAC in told and struct.unpack_from("=I", told[_MAC]) == (number,):
            return _knobs(told)
    return None


def _knobs(told: dict[int, bytes]) -> Knobs:
    minimum, maximum = _numbers(told, _RATE, 2) or (0, 0)
    (state,) = _numbers(told, _LINK_STATE, 1) or (0,)
    return Knobs(
        mac=told[_MAC][4:10].hex(":"),
        vlan=next(_vlans(told), Vlan()),
        tx_rates=TxRates(min=minimum, max=maximum),
        spoof_check=_switch(told, _SPOOF_CHECK),
        trust=_switch(told, _TRUST),
        link_state=_LINK_STATES[state] if state < len(_LINK_STATES) else "Auto",
    )


def _vlans(told: dict[int, bytes]) -> Iterator[Vlan]:
    names = {number: name for name, number in _PROTOCOLS.items()}
    for _, one in attributes_of(told.get(_VLAN_LIST, b"")):
        tag, qos = struct.unpack_from("=II", one, 4)
        (protocol,) = struct.unpack_from(">H", one, 12)
        yield Vlan(id=tag, qos=qos, protocol=names.get(protocol, "802.1Q"))
    if numbers := _numbers(told, _VLAN, 2):
        yield Vlan(id=numbers[0], qos=numbers[1])


def _numbers(told: dict[int, bytes], kind: int, count: int) -> tuple[int, ...]:
    """The numbers behind that of the virtual function; none where it is not told."""
    return struct.unpack_from(f"={count}I", told[kind], 4) if kind in told else ()


def _switch(told: dict[int, bytes], kind: int) -> bool | None:
    numbers = _numbers(told, kind, 1)
    return {(0,): False, (1,): True}.get(cast("tuple[int]", numbers))


def _value(number: bytes, knob: Knob, wanted: Knobs) -> tuple[int, bytes]:
    match knob:
        case "mac":
            return _MAC, number + bytes.fromhex(wanted.mac.replace(":", "")).ljust(_LONGEST_MAC, b"\0")
        case "vlan":
            vlan = wanted.vlan
            # struct ifla_vf_vlan_info is padded to 16 bytes, and the kernel takes no shorter one.
            info = struct.pack("=II", vlan.id, vlan.qos) + struct.pack(">HH", _PROTOCOLS[vlan.protocol], 0)
            return _VLAN_LIST, packed({_VLAN_INFO: number + info})
        case "tx_rates":
            return _RATE, number + struct.pack("=II", wanted.tx_rates.min, wanted.tx_rates.max)
        case "spoof_check":
            return _SPOOF_CHECK, number + struct.pack("=I", bool(wanted.spoof_check))
        case "trust":
            return _TRUST, number + struct.pack("=I", bool(wanted.trust))
        case "link_state":
            return _LINK_STATE, number + struct.pack("=I", _LINK_STATES.index(wanted.link_state))

"""The kernel's messages about virtual functions, in bytes of linux/if_link.h."""

import struct

import pytest
from hypothesis import given

from tests.virtual_functions.test_knobs import BUSY, FRESH, found_knobs
from virtnet.node.rtattr import attributes_of, packed
from virtnet.node.virtual_functions.knobs import Knob, Knobs, Vlan
from virtnet.node.virtual_functions.netlink import knobs, setting

HEADER = bytes(4) + struct.pack("=iII", 5, 0, 0)


@pytest.mark.parametrize(
    ("knob", "wanted", "kind", "value"),
    [
        pytest.param("mac", BUSY, 1, bytes.fromhex("020000000009").ljust(32, b"\0"), id="mac"),
        pytest.param("tx_rates", BUSY, 6, struct.pack("=II", 10, 100), id="rates"),
        pytest.param("spoof_check", BUSY, 4, struct.pack("=I", 0), id="spoofchk"),
        pytest.param("trust", BUSY, 9, struct.pack("=I", 1), id="trust"),
        pytest.param("link_state", BUSY, 5, struct.pack("=I", 1), id="state"),
    ],
)
def test_one_knob_is_set(knob: Knob, wanted: Knobs, kind: int, value: bytes) -> None:
    inner = packed({kind: struct.pack("=I", 3) + value})
    assert setting(5, 3, knob, wanted) == HEADER + packed({22: packed({1: inner})})


def test_a_vlan_is_padded_as_the_kernel_wants_it() -> None:
    """To 16 bytes, of which the protocol is in network order."""
    wanted = FRESH.model_copy(update={"vlan": Vlan(id=100, qos=3, protocol="802.1ad")})
    info = struct.pack("=III", 3, 100, 3) + b"\x88\xa8\0\0"
    inner = packed({12: packed({1: info})})
    assert setting(5, 3, "vlan", wanted) == HEADER + packed({22: packed({1: inner})})


def told(number: int, now: Knobs) -> bytes:
    """What the kernel says of one virtual function: of what it can be told to set, and of a switch that it does not
    know, all bits.
    """
    every: dict[int, bytes] = {}
    for knob in ("mac", "vlan", "tx_rates", "spoof_check", "trust", "link_state"):
        message = dict(attributes_of(setting(5, number, knob, now)[16:]))[22]
        ((_, function),) = attributes_of(message)
        every |= dict(attributes_of(function))
    for kind, value in ((4, now.spoof_check), (9, now.trust)):
        if value is None:
            every[kind] = struct.pack("=iI", number, 0xFFFFFFFF)
    return packed({1: packed(every)})


@given(found_knobs)
def test_what_is_told_is_read(now: Knobs) -> None:
    link = HEADER + packed({3: b"eth5\0", 22: told(2, FRESH) + told(3, now) + told(4, BUSY)})
    assert knobs(link, 3) == now
    assert knobs(link, 5) is None


def test_an_older_kernel_tells_no_protocol() -> None:
    mac, vlan = struct.pack("=I32s", 0, b""), struct.pack("=III", 0, 7, 3)
    link = HEADER + packed({22: packed({1: packed({1: mac, 2: vlan})})})
    assert knobs(link, 0) == Knobs(mac="00:00:00:00:00:00", vlan=Vlan(id=7, qos=3))


def test_a_driver_without_knobs() -> None:
    assert knobs(HEADER + packed({3: b"eth5\0"}), 0) is None

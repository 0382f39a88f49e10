"""Frames that tell or ask who has an address."""

import pytest

from virtnet.node.frames import announcements, assumed, claim, question

MAC = "02:76:6e:00:00:0a"
OTHER = "0c:00:00:00:00:01"


def untagged(frame: bytes, vlan: int) -> bytes:
    assert frame[12:16] == bytes.fromhex("8100") + vlan.to_bytes(2)
    return frame[:12] + frame[16:]


@pytest.mark.parametrize(
    ("addresses", "kinds"),
    [
        pytest.param((), ["8035"], id="switches only"),
        pytest.param(("10.0.0.5",), ["8035", "0806"], id="IPv4"),
        pytest.param(("10.0.0.5", "fd00::5"), ["8035", "0806", "86dd"], id="both"),
    ],
)
@pytest.mark.parametrize("vlan", [0, 100, 4094])
def test_announcements_come_from_the_guest_and_claim_its_addresses(
    addresses: tuple[str, ...], kinds: list[str], vlan: int
) -> None:
    found = announcements(MAC, addresses, vlan)
    if vlan:
        found = [untagged(frame, vlan) for frame in found]
    assert [frame[12:14].hex() for frame in found] == kinds
    assert all(frame[6:12].hex(":") == MAC and frame[0] & 1 and len(frame) >= 60 for frame in found)
    assert [claim(frame) for frame in found[1:]] == [(address, MAC) for address in addresses]


def test_of_a_service_vlan() -> None:
    assert {frame[12:16].hex() for frame in announcements(MAC, ["10.0.0.5", "fe80::1"], 100, "802.1ad")} == {"88a80064"}


def test_a_neighbour_advertisement_to_the_last_byte() -> None:
    (_, frame) = announcements(MAC, ["fe80::1"], 0)
    assert frame[:14].hex() == "33330000000102766e00000a86dd"
    assert frame[14:54].hex() == "6000000000203aff" + "fe80" + "0" * 27 + "1" + "ff02" + "0" * 27 + "1"
    checksum = frame[56:58].hex()
    assert frame[54:86].hex() == "8800" + checksum + "20000000" + "fe80" + "0" * 27 + "1" + "0201" + "02766e00000a"
    summed = frame[22:54] + (32).to_bytes(4) + (58).to_bytes(4) + frame[54:]
    assert sum(int.from_bytes(summed[at : at + 2]) for at in range(0, len(summed), 2)) % 0xFFFF == 0


@pytest.mark.parametrize("address", ["10.0.0.5", "fd00::5"])
def test_a_question_claims_nothing(address: str) -> None:
    frame = question(MAC, address, 0)
    assert claim(frame) is None
    assert frame[0] & 1
    assert frame[6:12].hex(":") == MAC


@pytest.mark.parametrize("frame", [b"", bytes(41), bytes(60), b"\xff" * 12 + bytes.fromhex("0806") + bytes(28)])
def test_what_is_no_claim(frame: bytes) -> None:
    assert claim(frame) is None


def test_any_arp_from_an_address_is_a_claim() -> None:
    """Also a question that somebody asks: it says where the answer is to go (RFC 5227, section 2.1.1)."""
    (_, gratuitous) = announcements(OTHER, ["10.0.0.5"], 0)
    assert claim(gratuitous[:38] + bytes([10, 0, 0, 1]) + gratuitous[42:]) == ("10.0.0.5", OTHER)


def test_who_looks_for_others_with_its_address_is_about_to_have_it() -> None:
    """By neighbour discovery; an ARP probe looks the same whoever asks."""
    assert assumed(question(MAC, "fd00::5", 0)) == "fd00::5"
    assert assumed(question(MAC, "10.0.0.5", 0)) == ""
    assert [assumed(frame) for frame in announcements(MAC, ["10.0.0.5", "fd00::6"], 0)] == ["", "10.0.0.5", "fd00::6"]
    asked_by_its_neighbour = bytearray(question(MAC, "fd00::5", 0))
    asked_by_its_neighbour[22] = 0xFE
    assert assumed(bytes(asked_by_its_neighbour)) == ""

"""Both families: a pool for each, one address of each for a NIC, and one name for each address."""

from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtnet.addressing.occupied import Occupied
from virtnet.addressing.pool import Pool
from virtnet.addressing.pools import LARGEST_COUNT, InvalidSubnet, capacity, home, pools_of
from virtnet.addressing.requests import AddressRequest, NicRequest, Past, Refused, RequestedNic, nic_request
from virtnet.api import Owner, Subnet, SubnetRef
from virtnet.api.lease import lease_name
from virtnet.api.records import PinnedNic, PinnedRecord

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BLUE = SubnetRef(kind="Subnet", namespace="demo", name="blue")
MAC = "02:00:00:00:00:01"


def pools(*cidrs: str, **spec: Any) -> tuple[Pool, ...]:
    body = {"metadata": {"name": "blue", "namespace": "demo"}, "spec": {"cidrs": cidrs, **spec}}
    return pools_of(Subnet.parse(body))


RESERVED = [{"address": "10.0.0.40", "vm": "db"}, {"address": "FD00:0::40", "vm": "db"}]
DUAL = pools("10.0.0.0/24", "fd00::/64", reservations=RESERVED)


def wanted(
    *addresses: str,
    stored: tuple[str, ...] = (),
    brought: tuple[str, ...] = (),
    held: tuple[str, ...] = (),
    of: tuple[Pool, ...] = DUAL,
) -> NicRequest:
    def record(held: tuple[str, ...]) -> PinnedRecord | None:
        if not held:
            return None
        nic = PinnedNic(network_attachment_definition="demo/n", subnet=BLUE, mac=MAC, addresses=held)
        return PinnedRecord(vm="demo/db", nics={"blue": nic})

    return nic_request(
        RequestedNic("blue", "demo/n", "", addresses), namespace="demo", owner=Owner(kind="VirtualMachine", name="db"),
        subnet=BLUE, pools=of, past=Past.of("demo/db", record(brought), record(stored)), held=held,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "exactly"),
    [
        pytest.param({"addresses": ()}, ("", ""), id="nothing"),
        pytest.param({"addresses": ("10.0.0.5",)}, ("10.0.0.5", ""), id="IPv4"),
        pytest.param({"addresses": ("FD00:0:0::5",)}, ("", "fd00::5"), id="IPv6, in canonical form"),
        pytest.param({"addresses": ("fd00::5", "10.0.0.5")}, ("10.0.0.5", "fd00::5"), id="both, in any order"),
        pytest.param({"stored": ("10.0.0.9", "fd00::9")}, ("10.0.0.9", "fd00::9"), id="stored"),
        pytest.param({"brought": ("fd00::9", "10.0.0.9")}, ("10.0.0.9", "fd00::9"), id="brought"),
        pytest.param({"stored": ("10.0.0.9",)}, ("10.0.0.9", ""), id="stored before there was IPv6"),
        pytest.param(
            {"stored": ("10.0.0.9", "fd00::9"), "addresses": ("fd00::7",)}, ("10.0.0.9", "fd00::7"),
            id="stored, and another IPv6 address asked for",
        ),
    ],
)  # fmt: skip
def test_a_nic_insists_for_each_family(said: dict[str, Any], exactly: tuple[str, str]) -> None:
    found = wanted(*said.pop("addresses", ()), **said)
    assert tuple(request.required for request in found.addresses) == exactly


def test_a_nic_would_rather_have_its_own_of_each_family() -> None:
    found = wanted(held=("fd00::30", MAC, "10.0.0.30"))
    assert found.addresses == (
        AddressRequest(preferred=("10.0.0.30", "10.0.0.40")),
        AddressRequest(preferred=("fd00::30", "fd00::40")),
    )
    assert found.mac == AddressRequest(preferred=(MAC,))


@pytest.mark.parametrize(
    ("requested", "of", "message"),
    [
        pytest.param(("fd00::5",), pools("10.0.0.0/24"), "fd00::5 is not an IPv4 address; write it like 10.0.0.10", id="IPv6 of IPv4"),
        pytest.param(("10.0.0.5",), pools("fd00::/64"), "10.0.0.5 is not an IPv6 address; write it like fd00::10", id="IPv4 of IPv6"),
        pytest.param(("ten",), DUAL, "ten is not an IPv4 or IPv6 address; write it like 10.0.0.10 or fd00::10", id="malformed"),
        pytest.param(("fd00::5%eth0",), DUAL, "fd00::5%eth0 is not an IPv4 or IPv6 address", id="with a zone"),
        pytest.param(("::ffff:10.0.0.5",), DUAL, "::ffff:10.0.0.5 is not an IPv4 or IPv6 address", id="IPv4 written as IPv6"),
        pytest.param(("fe80::5",), DUAL, "fe80::5 is outside fd00::/64; choose an address of that network", id="link-local"),
        pytest.param(("ff02::1",), DUAL, "ff02::1 is outside fd00::/64", id="multicast"),
        pytest.param(("fd00::",), DUAL, "fd00:: is the subnet-router anycast address; choose another", id="anycast"),
        pytest.param(("fd00::1",), DUAL, "fd00::1 is the gateway; choose another", id="gateway"),
        pytest.param(("fd00::5", "fd00::6"), DUAL, "fd00::5 and fd00::6 are both IPv6; a NIC has one address of each family", id="twice"),
    ],
)  # fmt: skip
def test_what_is_refused(requested: tuple[str, ...], of: tuple[Pool, ...], message: str) -> None:
    with pytest.raises(Refused) as refusal:
        wanted(*requested, of=of)
    assert str(refusal.value).startswith(f"Subnet demo/blue: NIC blue: {message}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param({"ranges": ["fd01::1-fd01::9"]}, "is not inside 10.0.0.0/24 or fd00::/64", id="range outside"),
        pytest.param({"ranges": ["10.0.0.1-fd00::9"]}, "is not inside", id="range from one family to the other"),
        pytest.param({"excludes": ["fd00::9-fd00::2"]}, "ends before it begins; write fd00::2-fd00::9", id="backward"),
        pytest.param({"reservations": [{"address": "FD00::1", "vm": "db"}]}, "fd00::1 is the gateway", id="gateway"),
        pytest.param({"gateways": ["fd00::"]}, "gateways: fd00:: is no host address", id="anycast gateway"),
        pytest.param(
            {"routes": [{"destination": "fd20::/48", "gateway": "10.0.0.9"}]}, "of different families", id="mixed route"
        ),
    ],
)
def test_subnets_that_cannot_be_served(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSubnet, match=message):
        pools("10.0.0.0/24", "fd00::/64", **spec)


numbers = st.integers(min_value=0, max_value=2**64 - 1)
spans = st.tuples(numbers, numbers).map(sorted)


@given(ranges=st.lists(spans, max_size=4), excludes=st.lists(spans, max_size=4), seed=st.text(max_size=9))
def test_a_large_network_is_counted_and_not_enumerated(
    ranges: list[list[int]], excludes: list[list[int]], seed: str
) -> None:
    def text(span: list[int]) -> str:
        return "-".join(str(IPv6Network("fd00::/64")[n]) for n in span)

    _, found = pools("10.0.0.0/24", "fd00::/64", ranges=[*map(text, ranges)], excludes=[*map(text, excludes)])
    base = int(IPv6Address("fd00::"))
    for address in islice(found.candidates(seed, Occupied(), {}, NOW), 20):
        number = int(IPv6Address(address)) - base
        assert number > 1  # neither the anycast address nor the gateway
        assert not ranges or any(low <= number <= high for low, high in ranges)
        assert not any(low <= number <= high for low, high in excludes)
        assert home(address, (found,)) == (found, address)
    assert found.capacity == sum(last - first + 1 for first, last in found.free)


def test_each_family_has_its_own_ranges() -> None:
    four, six = pools("10.0.0.0/24", "fd00::/64", ranges=["10.0.0.10-10.0.0.11"])
    assert four.capacity == 2
    assert six.capacity == 2**64 - 2
    assert capacity((four, six)) == 2
    assert capacity((six,)) == LARGEST_COUNT


def test_overlaps_are_within_a_family() -> None:
    def spec(*cidrs: str) -> Any:
        return Subnet.parse({"metadata": {"name": "x"}, "spec": {"cidrs": cidrs}}).spec

    mine = spec("10.0.0.0/24", "fd00::/64")
    assert mine.overlaps(spec("10.0.1.0/24", "fd00:0:0:1::/64")) is None
    assert mine.overlaps(spec("fd00::8:0/112")) == (IPv6Network("fd00::/64"), IPv6Network("fd00::8:0/112"))
    assert mine.overlaps(spec("fd01::/64", "10.0.0.0/8")) == (IPv4Network("10.0.0.0/24"), IPv4Network("10.0.0.0/8"))


@given(st.integers(min_value=0, max_value=2**128 - 1).map(IPv6Address))
def test_an_ipv6_address_has_one_lease_name_that_kubernetes_takes(address: IPv6Address) -> None:
    names = {lease_name(form, BLUE) for form in (str(address), address.exploded, str(address).upper())}
    assert len(names) == 1
    label = names.pop().partition(".")[0]
    assert label[0].isalnum()
    assert label[-1].isalnum()
    assert len(label) == 39

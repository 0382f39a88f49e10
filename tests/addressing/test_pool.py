"""Pools: what is never handed out, what is always found, and in which order."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtnet.addressing.occupied import Occupied
from virtnet.addressing.pool import Pool
from virtnet.addressing.pools import InvalidSubnet, pools_of
from virtnet.api import ClusterSubnet, Subnet

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pool(cidr: str = "10.0.0.0/29", **spec: Any) -> Pool:
    (found,) = pools(cidr, **spec)
    return found


def pools(*cidrs: str, **spec: Any) -> tuple[Pool, ...]:
    body = {"metadata": {"name": "blue", "namespace": "demo"}, "spec": {"cidrs": cidrs, **spec}}
    return pools_of(Subnet.parse(body))


def occupied(addresses: Iterable[str]) -> Occupied:
    return Occupied(int(ip_address(address)) for address in addresses)


def offered(
    found: Pool, seed: str = "s", taken: frozenset[str] = frozenset(), cooling: dict[str, datetime] | None = None
) -> list[str]:
    return list(found.candidates(seed, occupied(taken), cooling or {}, NOW))


def test_every_host_but_the_gateway_is_offered_once() -> None:
    assert sorted(offered(pool())) == [f"10.0.0.{n}" for n in (2, 3, 4, 5, 6)]
    assert pool().capacity == 5


@given(st.text(max_size=20))
def test_the_seed_decides_the_first_and_loses_none(seed: str) -> None:
    assert offered(pool(), seed) == offered(pool(), seed)
    assert sorted(offered(pool(), seed)) == sorted(offered(pool()))


def test_cooled_addresses_come_last_and_the_longest_cooled_first() -> None:
    cooling = {f"10.0.0.{n}": NOW + timedelta(seconds=n) for n in (2, 4, 6)} | {"10.0.0.5": NOW - timedelta(seconds=1)}
    assert offered(pool(), cooling=cooling)[-3:] == ["10.0.0.2", "10.0.0.4", "10.0.0.6"]
    taken = frozenset({"10.0.0.4"})
    again = list(
        pool().candidates("s", occupied(taken), cooling, NOW, first=["10.0.0.6", "10.0.0.4", "10.9.9.9", "fd00::6"])
    )
    assert (again[0], again.count("10.0.0.6")) == ("10.0.0.6", 1)
    assert not {"10.0.0.4", "10.9.9.9", "fd00::6"} & set(again)


hosts = st.integers(min_value=0, max_value=255).map(lambda n: f"10.0.0.{n}")
spans = st.tuples(hosts, hosts).map(lambda pair: "-".join(sorted(pair, key=lambda a: int(a.split(".")[3]))))


@given(
    ranges=st.lists(spans, max_size=4),
    excludes=st.lists(st.one_of(spans, hosts), max_size=4),
    reserved=st.sets(st.integers(min_value=2, max_value=254), max_size=3),
    taken=st.sets(hosts, max_size=40),
)
def test_exactly_what_may_be_handed_out_is_offered(
    ranges: list[str], excludes: list[str], reserved: set[int], taken: set[str]
) -> None:
    reservations = [{"address": f"10.0.0.{n}", "vm": f"vm{n}"} for n in reserved]
    found = pool("10.0.0.0/24", ranges=ranges, excludes=excludes, reservations=reservations)

    def inside(text: str, number: int) -> bool:
        first, _, last = text.partition("-")
        return int(first.split(".")[3]) <= number <= int((last or first).split(".")[3])

    expected = {
        f"10.0.0.{n}"
        for n in range(2, 255)
        if (not ranges or any(inside(r, n) for r in ranges))
        and not any(inside(x, n) for x in excludes)
        and n not in reserved
    }
    result = offered(found, taken=frozenset(taken))
    assert set(result) == expected - taken
    assert len(result) == len(set(result))
    assert found.capacity == len(expected) + len(reserved)


def test_a_large_network_is_not_enumerated() -> None:
    found = pool("10.0.0.0/8")
    assert IPv4Address(next(found.candidates("x", Occupied(), {}, NOW))) in IPv4Network("10.0.0.0/8")
    assert found.capacity == 2**24 - 3


@pytest.mark.parametrize(
    ("address", "message"),
    [
        pytest.param("10.0.0.5", None, id="free"),
        pytest.param("10.0.0.9", None, id="outside of ranges"),
        pytest.param("10.0.1.5", "10.0.1.5 is outside 10.0.0.0/28; choose an address of that network", id="outside"),
        pytest.param("10.0.0.0", "10.0.0.0 is the network address; choose another", id="network"),
        pytest.param("10.0.0.15", "10.0.0.15 is the broadcast address; choose another", id="broadcast"),
        pytest.param("10.0.0.1", "10.0.0.1 is the gateway; choose another", id="gateway"),
        pytest.param("10.0.0.7", "10.0.0.7 is excluded; choose another", id="excluded"),
        pytest.param("10.0.0.3", "10.0.0.3 is reserved for VM demo/web; choose another", id="reserved for another"),
        pytest.param("10.0.0.4", None, id="reserved for this VM"),
        pytest.param("10.0.0.6", None, id="reserved for this VM among the excluded"),
    ],
)
def test_what_may_be_asked_for(address: str, message: str | None) -> None:
    found = pool(
        "10.0.0.0/28",
        ranges=["10.0.0.2-10.0.0.8"],
        excludes=["10.0.0.6-10.0.0.7"],
        reservations=[
            {"address": "10.0.0.3", "vm": "web"},
            {"address": "10.0.0.4", "vm": "db"},
            {"address": "10.0.0.6", "vm": "demo/db"},
        ],
    )
    assert found.reserved_for("demo/db") == ("10.0.0.4", "10.0.0.6")
    assert found.refuse(address, "demo/db") == message


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param({"gateways": ["10.9.0.1"]}, "gateways: 10.9.0.1 is no host address", id="gateway outside"),
        pytest.param({"ranges": ["10.0.0.5-10.0.0.2"]}, "ends before it begins", id="backward range"),
        pytest.param({"ranges": ["10.0.0.2-10.0.9.2"]}, "is not inside 10.0.0.0/29", id="range outside"),
        pytest.param({"excludes": ["999.0.0.1"]}, "neither an address nor a range", id="no address"),
        pytest.param({"reservations": [{"address": "10.0.0.1", "vm": "db"}]}, "is the gateway", id="gateway reserved"),
        pytest.param(
            {"reservations": [{"address": "10.0.0.2", "vm": "other/db"}]}, "is in another namespace", id="foreign VM"
        ),
    ],
)
def test_subnets_that_cannot_be_served(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSubnet, match=message):
        pool(**spec)


def test_a_cluster_subnet_reserves_by_full_name() -> None:
    body = {
        "metadata": {"name": "lan"},
        "spec": {"cidrs": ["10.0.0.0/24"], "reservations": [{"address": "10.0.0.2", "vm": "db"}]},
    }
    with pytest.raises(InvalidSubnet, match="needs its namespace"):
        pools_of(ClusterSubnet.parse(body))

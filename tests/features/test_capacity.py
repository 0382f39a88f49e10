"""Whether people are told that a Subnet is full, which they are when the next one would be refused."""

from typing import Any

import pytest

from tests.topology.samples import subnet
from virtnet.addressing.pools import pools_of
from virtnet.api import Subnet
from virtnet.engine.outcome import with_conditions
from virtnet.features.capacity import FULL, exhausted, full_state

TEN: dict[str, Any] = {"ranges": ["10.10.0.10-10.10.0.19"]}
ALL = [f"10.10.0.{number}" for number in range(10, 20)]


@pytest.mark.parametrize(
    ("of", "leased", "message"),
    [
        pytest.param(subnet(**TEN), ALL, "no IPv4 address is left of the 10", id="all"),
        pytest.param(subnet(**TEN), ALL[1:], "", id="one is left"),
        pytest.param(subnet(**TEN), [*ALL[1:], "10.10.0.99"], "", id="one was asked for, and is not handed out"),
        pytest.param(subnet(**TEN), [*ALL[1:], "02:76:6e:00:00:01"], "", id="a MAC is none of them"),
        pytest.param(
            subnet(**TEN, reservations=[{"address": "10.10.0.10", "vm": "db"}]),
            ALL[1:],
            "no IPv4 address is left of the 9",
            id="one is left, for one VM alone",
        ),
        pytest.param(
            subnet(cidr="10.10.0.0/24 fd00:10::/64", ranges=["fd00:10::10"]),
            ["10.10.0.5", "fd00:10::10"],
            "no IPv6 address is left of the 1",
            id="of one family",
        ),
    ],
)
def test_it_is_full_when_none_is_left_that_anybody_gets(of: Subnet, leased: list[str], message: str) -> None:
    found = exhausted(pools_of(of), leased)
    assert message in found
    assert bool(message) == bool(found)


def test_there_is_no_condition_where_it_has_never_been_full_and_it_goes_back() -> None:
    some, none = (full_state(pools_of(subnet(**TEN)), leased) for leased in (ALL[1:], ALL))
    assert with_conditions((), [some], 1) == ()
    found = with_conditions((), [none], 1)
    assert [(one.type, one.status, one.reason) for one in found] == [(FULL, "True", "AddressesExhausted")]
    assert [(one.type, one.status) for one in with_conditions(found, [some], 1)] == [(FULL, "False")]

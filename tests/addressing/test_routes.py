"""Which routes a NIC gets."""

import re
from typing import Any

import pytest

from virtnet.addressing.pools import InvalidSubnet, pools_of
from virtnet.addressing.routes import resolved
from virtnet.api import Route, Subnet
from virtnet.api.routes import OPTION_BYTES, RouteRequest, effective_routes, option_bytes, read_requests


def subnet(*cidrs: str, **spec: Any) -> Subnet:
    return Subnet.parse({"metadata": {"name": "blue", "namespace": "demo"}, "spec": {"cidrs": cidrs, **spec}})


BOTH = pools_of(subnet("10.0.0.0/24", "fd00::/64"))


def route(destination: str, gateway: str) -> Route:
    return Route(destination=destination, gateway=gateway)


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        pytest.param([("192.168.0.0/16", "10.0.0.9")], [route("192.168.0.0/16", "10.0.0.9")], id="by a machine"),
        pytest.param([("192.168.0.0/16", "")], [route("192.168.0.0/16", "10.0.0.1")], id="by the gateway"),
        pytest.param([("FD20::/48", "fd00:0::9")], [route("fd20::/48", "fd00::9")], id="IPv6, in canonical form"),
        pytest.param([("0.0.0.0/0", "10.0.0.9")], [route("0.0.0.0/0", "10.0.0.9")], id="default by a machine"),
        pytest.param([("0.0.0.0/0", ""), ("::/0", "fd00::1")], [], id="default by the gateway is told without a route"),
        pytest.param([("10.9.9.9", "")], [route("10.9.9.9/32", "10.0.0.1")], id="one machine"),
        pytest.param([("10.8.0.0/16", ""), ("10.8.0.0/16", "10.0.0.1")], [route("10.8.0.0/16", "10.0.0.1")], id="twice"),
    ],
)  # fmt: skip
def test_routes_by_the_subnets_machines(requested: list[tuple[str, str]], expected: list[Route]) -> None:
    assert list(resolved([RouteRequest(*one) for one in requested], BOTH)) == expected


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        pytest.param([("192.168.0.0/16", "10.0.1.9")], "route 192.168.0.0/16 by 10.0.1.9: 10.0.1.9 is no host address of 10.0.0.0/24, so that the NIC cannot reach it; name a machine of this network, or none for its gateway 10.0.0.1", id="off the Subnet"),
        pytest.param([("192.168.0.0/16", "10.0.0.255")], "10.0.0.255 is no host address", id="broadcast"),
        pytest.param([("192.168.0.0/16", "10.0.0.0")], "10.0.0.0 is no host address", id="network"),
        pytest.param([("192.168.0.0/16", "fd00::9")], "fd00::9 is not an IPv4 address", id="of another family"),
        pytest.param([("192.168.0.0/16", "router")], "router is not an IPv4 address", id="a name"),
        pytest.param([("192.168.0.1/16", "")], "route 192.168.0.1/16: no network; write one like 192.168.0.0/16", id="host bits"),
        pytest.param([("all", "")], "route all: no network", id="a word"),
        pytest.param([("10.8.0.0/16", ""), ("10.8.0.0/16", "10.0.0.9")], "there is another to 10.8.0.0/16; keep one", id="two ways"),
    ],
)  # fmt: skip
def test_routes_that_cannot_be(requested: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        resolved([RouteRequest(*one) for one in requested], BOTH)


def test_a_route_of_a_family_that_the_subnet_has_not() -> None:
    with pytest.raises(ValueError, match=r"route fd20::/48: the Subnet has no such addresses; ask for routes of IPv4"):
        resolved([RouteRequest("fd20::/48")], pools_of(subnet("10.0.0.0/24")))


def test_its_own_come_first_and_the_next_hop_is_not_told_of_itself() -> None:
    own = [route("192.168.0.0/16", "10.0.0.9")]
    theirs = [route("192.168.0.0/16", "10.0.0.8"), route("172.16.0.0/12", "10.0.0.7"), route("0.0.0.0/0", "10.0.0.6")]
    assert effective_routes(own, theirs, addresses=["10.0.0.5"], default_route=True) == (*own, *theirs[1:])
    assert effective_routes(own, theirs, addresses=["10.0.0.7"], default_route=False) == tuple(own)


@pytest.mark.parametrize("value", ["x", {}, [1], [{}], [{"gateway": "10.0.0.1"}], [{"destination": 1}],
                                   [{"destination": "10.0.0.0/8", "gateway": 1}], [{"destination": "x", "metric": 1}]])  # fmt: skip
def test_what_is_no_list_of_routes(value: Any) -> None:
    with pytest.raises(ValueError, match=re.escape('must be like [{"destination"')):
        read_requests(value)


def test_a_next_hop_is_nobodys_by_choice() -> None:
    (pool,) = pools_of(subnet("10.0.0.0/29", routes=[{"destination": "192.168.0.0/16", "gateway": "10.0.0.4"}]))
    offered = [f"10.0.0.{n}" for n in range(8) if pool.offers(f"10.0.0.{n}")]
    assert offered == ["10.0.0.2", "10.0.0.3", "10.0.0.5", "10.0.0.6"]
    assert pool.refuse("10.0.0.4", "demo/router") is None, "it may ask"


def test_more_than_dhcp_has_room_for() -> None:
    routes = [{"destination": f"192.168.{n}.0/24", "gateway": "10.0.0.9"} for n in range(40)]
    most = (OPTION_BYTES - 5) // 8
    assert option_bytes(Route.model_validate(one) for one in routes[:most]) <= OPTION_BYTES - 5
    pools_of(subnet("10.0.0.0/24", routes=routes[:most]))
    with pytest.raises(InvalidSubnet, match=r"routes: they take 261 bytes, DHCP has room for 255"):
        pools_of(subnet("10.0.0.0/24", routes=routes[: most + 1]))

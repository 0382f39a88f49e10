"""Random Subnets of small networks, so that all of their addresses can be looked at."""

from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from hypothesis import strategies as st

from virtnet.api import ClusterSubnet
from virtnet.api.addresses import Network

NETWORKS: tuple[Network, ...] = (
    IPv4Network("10.0.0.0/30"), IPv4Network("10.0.0.0/29"), IPv4Network("10.0.0.16/28"), IPv4Network("10.0.0.128/27"),
    IPv6Network("fd00::/126"), IPv6Network("fd00::10/124"), IPv6Network("fd00:1:2:3::ffff:ffe0/123"),
)  # fmt: skip


@cache
def addresses(network: Network, first: int = 0, last: int = -1) -> st.SearchStrategy[str]:
    """By number: from ``first`` to ``last``, which counts from the end where it is negative. In any way of writing."""
    last = last if last >= 0 else network.num_addresses + last
    base = int(network.network_address)
    written = st.integers(first, last).map(lambda number: str(ip_address(base + number)))
    return written | written.map(str.upper)


@cache
def spans(network: Network) -> st.SearchStrategy[str]:
    one = addresses(network)
    return one | st.tuples(one, one).map(lambda pair: "-".join(sorted(pair, key=lambda a: int(ip_address(a)))))


def subnets(*, wild: bool = False) -> st.SearchStrategy[ClusterSubnet]:
    """``wild``: with everything that the schema lets in; else what is served, but for some that contradict themselves."""
    lists = st.lists(st.sampled_from(NETWORKS), min_size=1, max_size=2, unique_by=lambda network: network.version)
    return lists.flatmap(lambda networks: _of(tuple(networks), wild=wild))


@cache
def _of(networks: tuple[Network, ...], *, wild: bool) -> st.SearchStrategy[ClusterSubnet]:
    ends = (0, -1) if wild else (2, -2)
    host = st.one_of(*(addresses(network, *ends) for network in networks))
    span = st.one_of(*map(spans, networks))
    if wild:
        host |= st.sampled_from(["10.9.0.1", "fd09::1", "ten", "::ffff:10.0.0.5", "fe80::1%eth0", "010.0.0.5", ""])
        span |= st.sampled_from(
            ["10.0.0.9-10.0.0.1", "-", "10.0.0.1-", "-10.0.0.1", "10.0.0.1-fd00::2", "0", "999.0.0.1"]
        )
    few, ranges = st.lists(host, max_size=1), st.lists(span, max_size=3)
    hop = st.builds(_route, host, st.integers(0, 3), st.just(wild))
    overlay: dict[str, Any] = {
        "cidrs": st.just([str(network) for network in networks]),
        "gateways": few,
        "ranges": ranges,
        "excludes": ranges,
        "reservations": st.lists(
            st.fixed_dictionaries({"address": host, "vm": st.sampled_from(["demo/db", "demo/web"])}), max_size=2
        ),
        "routes": st.lists(hop, max_size=2),
        "mtu": st.sampled_from([None, 1280, 1442, 9000]),
        "dhcp": st.fixed_dictionaries({"enabled": st.booleans()}),
        "dns": st.fixed_dictionaries({"servers": few, "domain": st.sampled_from(["", "demo.example"])}),
        "multicast": st.sampled_from([{}, {"snooping": True}, {"snooping": True, "querier": wild}]),
    }
    underlay = {
        "providerNetwork": st.just("rack"),
        "vlan": st.sampled_from([0, 100]),
        "logicalGateway": st.booleans(),
        "routerAddresses": few,
    }
    spec = st.fixed_dictionaries(overlay) | st.fixed_dictionaries({**overlay, **underlay})
    return st.builds(_subnet, st.sampled_from(["blue", "red"]), spec)


def _route(gateway: str, number: int, wild: bool) -> dict[str, str]:
    six = ["fd20::/48", "::/0", "fd20:1::/64", "fd21::/48"]
    four = ["192.168.0.0/16", "0.0.0.0/0", "192.168.4.0/24", "172.16.0.0/12"]
    mixed = [*four[:2], *six[:2]]
    return {"destination": (mixed if wild else six if ":" in gateway else four)[number], "gateway": gateway}


def _subnet(name: str, spec: dict[str, Any]) -> ClusterSubnet:
    return ClusterSubnet.parse({"metadata": {"name": name}, "spec": spec})

"""Routes as the kernel reports them, and what of each is an interface's: gateways, next hops, and the way back."""

import socket
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtnet.node.providers.objects import ROUTE, NetlinkObject, default_gateways, neutral, parse
from virtnet.node.rtattr import RTA_GATEWAY, RTA_VIA, Attributes, packed

NAME, INDEX, OTHER = "eth1", 7, 8
_OIF, _MULTIPATH = 4, 9

Hop = tuple[int, str, int]
"""The interface's index, the gateway and the weight, which the kernel counts from 0."""


def gateway(family: int, address: str) -> Attributes:
    of = socket.AF_INET6 if ":" in address else socket.AF_INET
    if of == family:
        return {RTA_GATEWAY: socket.inet_pton(of, address)}
    return {RTA_VIA: struct.pack("=H", of) + socket.inet_pton(of, address)}


def reported(family: int, hops: Sequence[Hop], *, length: int = 0, table: int = 254) -> NetlinkObject:
    """A route as the kernel reports it."""
    header = struct.pack("=BBBBBBBBI", family, length, 0, 0, table, 3, 0, 1, 0)
    if len(hops) == 1:
        [(index, address, _)] = hops
        return parse(ROUTE, header + packed({_OIF: struct.pack("=i", index), **gateway(family, address)}))
    several = b""
    for index, address, weight in hops:
        attributes = packed(gateway(family, address))
        several += struct.pack("=HBBi", 8 + len(attributes), 0, weight, index) + attributes
    return parse(ROUTE, header + packed({_MULTIPATH: several}))


@pytest.mark.parametrize(
    ("family", "hops", "gateways"),
    [
        pytest.param(socket.AF_INET, [(INDEX, "10.7.0.1", 0)], ["10.7.0.1"], id="one"),
        pytest.param(socket.AF_INET, [(INDEX, "fd07::1", 0)], ["fd07::1"], id="by IPv6 for IPv4"),
        pytest.param(socket.AF_INET, [(INDEX, "10.7.0.1", 0), (INDEX, "10.7.0.2", 3)], ["10.7.0.1", "10.7.0.2"], id="two"),
        pytest.param(socket.AF_INET, [(INDEX, "10.7.0.1", 0), (INDEX, "fd07::2", 0)], ["10.7.0.1", "fd07::2"], id="both"),
        pytest.param(socket.AF_INET, [(OTHER, "10.9.0.1", 0), (INDEX, "10.7.0.1", 0)], ["10.7.0.1"], id="one of another"),
        pytest.param(socket.AF_INET6, [(INDEX, "fd07::1", 1), (INDEX, "fd07::2", 0)], ["fd07::1", "fd07::2"], id="IPv6"),
        pytest.param(socket.AF_INET6, [(OTHER, "fd09::1", 0), (INDEX, "fd07::1", 0)], ["fd07::1"], id="IPv6, of another"),
        pytest.param(socket.AF_INET, [(OTHER, "10.9.0.1", 0)], [], id="another's"),
    ],
)  # fmt: skip
def test_the_gateways_to_which_an_interface_leads(family: int, hops: Sequence[Hop], gateways: list[str]) -> None:
    route = reported(family, hops)
    assert default_gateways(list(neutral(route, INDEX, NAME))) == gateways


@pytest.mark.parametrize(("length", "table"), [(16, 254), (0, 70)], ids=["no default route", "another table"])
def test_other_routes_have_no_default_gateway(length: int, table: int) -> None:
    route = reported(socket.AF_INET, [(INDEX, "10.7.0.1", 0)], length=length, table=table)
    [found] = neutral(route, INDEX, NAME)
    assert found.default_gateways == ()


V6 = st.ip_addresses(v=6).map(str)


@given(
    family=st.sampled_from([socket.AF_INET, socket.AF_INET6]),
    hops=st.lists(st.tuples(st.sampled_from([INDEX, OTHER]), V6, st.integers(0, 255)), min_size=1, max_size=5),
    target=st.integers(9, 1 << 20),
)
def test_what_is_put_onto_another_interface_reads_the_same_there(family: int, hops: list[Hop], target: int) -> None:
    """And as text: nothing of it is lost on the way to the journal either."""
    for found in neutral(reported(family, hops), INDEX, NAME):
        assert NetlinkObject.of_text(found.text) == found
        assert list(neutral(parse(ROUTE, found.body(target)), target, "br-blue")) == [found]

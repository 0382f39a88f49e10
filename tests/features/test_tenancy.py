"""Whose networks a Subnet's guests are told of, and what DHCP has no room for."""

import pytest

from tests.topology.samples import subnet, underlay
from virtnet.api import Subnet
from virtnet.engine.graph import Graph
from virtnet.engine.keys import ObjectKey
from virtnet.features.layout import neighbours
from virtnet.features.sources import CLUSTER_SUBNETS, SUBNETS
from virtnet.features.subnet import routes_state
from virtnet.topology.compile import left_out
from virtnet.topology.switch import VpcNeighbours

LAN = underlay(routerAddresses=["10.66.0.2"])


def test_a_tenants_subnet_bends_nobody_elses_traffic() -> None:
    """One that names no Vpc, with the network of somebody else's servers."""
    bend = Subnet.parse({"metadata": {"name": "bend", "namespace": "tenant-a"}, "spec": {"cidrs": ["8.8.8.0/24"]}})
    shared = subnet("shared", "10.9.0.0/24")
    graph = Graph()
    graph.put(CLUSTER_SUBNETS, ObjectKey.of(LAN), LAN)
    for one in (bend, shared):
        graph.put(SUBNETS, ObjectKey.of(one), one)
    assert graph.peek(lambda reader: neighbours(ObjectKey.of(LAN), reader)).networks == ("10.9.0.0/24",)


@pytest.mark.parametrize(("count", "left"), [(0, 0), (31, 0), (40, 9)])
def test_what_dhcp_has_no_room_for_is_told(count: int, left: int) -> None:
    others = tuple(f"10.{number}.0.0/24" for number in range(0, 2 * count, 2))
    found = left_out(LAN, VpcNeighbours(others))
    assert len(found) == left
    state = routes_state(found)
    assert (state.holds, f"room for {left} of" in state.message) == (bool(left), bool(left))

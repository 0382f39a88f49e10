"""Whether people are told that the tunnels are too narrow for an underlay."""

import pytest

from tests.topology.samples import subnet, underlay
from virtnet.api import ClusterSubnet, NodeNetwork, Subnet
from virtnet.api.meta import Metadata
from virtnet.api.node_network import NodeNetworkStatus
from virtnet.controllers.tunnels import too_narrow, tunnels_condition


def node(name: str, mtu: int, address: str = "192.0.2.1") -> NodeNetwork:
    status = NodeNetworkStatus(encap_ips=(address,), tunnel_mtu=mtu)
    return NodeNetwork(metadata=Metadata(name=name), status=status)


@pytest.mark.parametrize(
    ("of", "nodes", "told"),
    [
        pytest.param(underlay(), [node("a", 1500), node("b", 1558)], "tunnels of a carry packets of 1442", id="one"),
        pytest.param(underlay(), [node("b", 1500), node("a", 1480)], "tunnels of a, b carry packets of 1422", id="two"),
        pytest.param(underlay(), [node("a", 1558)], "", id="wide enough"),
        pytest.param(underlay(), [node("a", 1577, "2001:db8::1")], "carry packets of 1499", id="IPv6 takes more"),
        pytest.param(underlay(), [node("a", 0)], "", id="not known"),
        pytest.param(underlay(mtu=1442), [node("a", 1500)], "", id="guests have been told of less"),
        pytest.param(subnet(), [node("a", 1500)], "", id="an overlay has its own, smaller MTU"),
    ],
)
def test_narrow_tunnels_are_told_of(of: Subnet | ClusterSubnet, nodes: list[NodeNetwork], told: str) -> None:
    found = too_narrow(of, nodes)
    assert told in found
    assert bool(told) == bool(found)


def test_there_is_no_condition_without_a_reason_and_it_goes_back() -> None:
    assert tunnels_condition((), "", 1) == ()
    narrow = tunnels_condition((), "narrow", 1)
    assert [(one.type, one.status) for one in narrow] == [("TunnelsTooNarrow", "True")]
    assert [(one.type, one.status) for one in tunnels_condition(narrow, "", 1)] == [("TunnelsTooNarrow", "False")]

"""Whether people are told that nodes do not carry what guests may send."""

import pytest

from tests.messages import SUBNETS
from tests.topology.samples import subnet, underlay
from virtnet.api import ClusterSubnet, NodeNetwork, NodeProviderNetwork, Subnet
from virtnet.api.meta import Metadata
from virtnet.api.node_network import NodeNetworkStatus
from virtnet.engine.graph import Graph
from virtnet.engine.outcome import ConditionState, with_conditions
from virtnet.features.mtu import NIC_MTU, TUNNEL_MTU, mtu_states
from virtnet.features.node_parts import NODE_NETWORKS

SIX = "2001:db8::1"


def states(of: Subnet | ClusterSubnet, nodes: list[NodeNetwork]) -> tuple[ConditionState, ...]:
    graph = Graph()
    for one in nodes:
        graph.put(NODE_NETWORKS, NODE_NETWORKS.key(one.name), one)
    return graph.peek(lambda reader: mtu_states(of, reader))


def too_small(of: Subnet | ClusterSubnet, nodes: list[NodeNetwork]) -> dict[str, str]:
    return {state.type: state.message for state in states(of, nodes)}


def node(name: str, mtu: int, address: str = "192.0.2.1", *, nic: int = 0) -> NodeNetwork:
    """``nic``: the MTU of its NIC of ``rack``."""
    plugged = {"rack": NodeProviderNetwork(nic="eth1", mtu=nic)} if nic else {}
    status = NodeNetworkStatus(encap_ips=(address,), tunnel_mtu=mtu, provider_networks=plugged)
    return NodeNetwork(metadata=Metadata(name=name), status=status)


@pytest.mark.parametrize(
    ("of", "nodes", "message"),
    [
        pytest.param(underlay(), [node("a", 1500), node("b", 1558)], "tunnels of a carry packets of 1442", id="one"),
        pytest.param(underlay(), [node("b", 1500), node("a", 1480)], "tunnels of a, b carry packets of 1422", id="two"),
        pytest.param(underlay(), [node("a", 1558)], "", id="wide enough"),
        pytest.param(underlay(), [node("a", 1577, SIX)], "carry packets of 1499", id="IPv6 takes more"),
        pytest.param(underlay(), [node("a", 0)], "", id="not known"),
        pytest.param(underlay(mtu=1442), [node("a", 1500)], "", id="guests have been told of less"),
        pytest.param(subnet(), [node("a", 1500)], "", id="an overlay has its own, smaller MTU"),
        pytest.param(subnet(), [node("a", 1500, SIX)], "tunnels of a carry packets of 1422", id="an overlay over IPv6"),
        pytest.param(subnet(mtu=9000), [node("a", 1500)], "or give the Subnet an mtu of 1442", id="an overlay of 9000"),
        pytest.param(subnet(mtu=9000), [node("a", 9058)], "", id="an overlay on jumbo frames"),
    ],
)
def test_tunnels_whose_mtu_is_too_small_are_told_of(
    of: Subnet | ClusterSubnet, nodes: list[NodeNetwork], message: str
) -> None:
    found = too_small(of, nodes)
    assert message in found[TUNNEL_MTU]
    assert bool(message) == bool(found[TUNNEL_MTU])
    assert not found[NIC_MTU]


@pytest.mark.parametrize(
    ("of", "nodes", "message"),
    [
        pytest.param(underlay(mtu=9000), [node("a", 0, nic=1500), node("b", 0, nic=9000)], "on a carry", id="one"),
        pytest.param(underlay(), [node("a", 0, nic=1500)], "", id="wide enough"),
        pytest.param(underlay(providerNetwork="other"), [node("a", 0, nic=900)], "", id="of another network"),
        pytest.param(subnet(mtu=9000), [node("a", 0, nic=1500)], "", id="an overlay has no NICs"),
    ],
)
def test_nics_whose_mtu_is_too_small_are_told_of(
    of: Subnet | ClusterSubnet, nodes: list[NodeNetwork], message: str
) -> None:
    found = too_small(of, nodes)[NIC_MTU]
    assert message in found
    assert bool(message) == bool(found)


@pytest.mark.parametrize(
    ("given", "of", "nodes"),
    [
        ("tunnels that are too narrow", subnet(mtu=9000), [node("node1", 1500)]),
        ("an underlay's tunnels that are too narrow", underlay(), [node("node1", 1500)]),
        ("NICs that are too narrow", underlay(mtu=9000), [node("node1", 9058, nic=1500)]),
    ],
)
def test_people_are_told(given: str, of: Subnet | ClusterSubnet, nodes: list[NodeNetwork]) -> None:
    (found,) = with_conditions((), states(of, nodes), 1)
    row = SUBNETS[given]
    assert (f"{found.type}: {found.reason}", found.message) == (row.reason, row.message)


def test_there_is_no_condition_without_a_reason_and_it_goes_back() -> None:
    enough, small = (states(underlay(mtu=9000), [node("a", 9058, nic=nic)]) for nic in (9000, 1500))
    assert with_conditions((), enough, 1) == ()
    found = with_conditions((), small, 1)
    assert [(one.type, one.status) for one in found] == [(NIC_MTU, "True")]
    assert [(one.type, one.status) for one in with_conditions(found, enough, 1)] == [(NIC_MTU, "False")]

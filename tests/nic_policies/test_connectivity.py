"""A NIC that the node itself needs is told from others, by what a real kernel says."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from virtnet.lab import netns
from virtnet.node.netns import inside
from virtnet.node.nic_policies.connectivity import Connectivity, NodeLink, NodeTraffic, read

BOND, BOND_VLAN, SLAVE, PLAIN, VLAN = range(1, 6)
LINKS = (
    NodeLink(BOND, "bond0"),
    NodeLink(BOND_VLAN, "bond0.5", lower=BOND),
    NodeLink(SLAVE, "ens1", master=BOND),
    NodeLink(PLAIN, "ens2"),
    NodeLink(VLAN, "ens2.7", lower=PLAIN),
)
ROUTE = "has a default route of the node"


@pytest.mark.parametrize(
    ("interface", "needs", "said"),
    [
        pytest.param("ens2", {}, "", id="of no use to the node"),
        pytest.param("ens2", {PLAIN: ROUTE}, ROUTE, id="itself"),
        pytest.param("ens2", {VLAN: ROUTE}, f"carries ens2.7, which {ROUTE}", id="a VLAN on it"),
        pytest.param("ens2", {BOND_VLAN: ROUTE}, "", id="another"),
        pytest.param("ens1", {}, "belongs to bond0", id="a member"),
        pytest.param("bond0", {BOND_VLAN: ROUTE}, f"carries bond0.5, which {ROUTE}", id="what a bond carries"),
        pytest.param("gone", {PLAIN: ROUTE}, "", id="gone"),
    ],
)
def test_what_a_nic_has_of_the_nodes(interface: str, needs: dict[int, str], said: str) -> None:
    assert NodeTraffic(LINKS, needs).on(interface) == said


@pytest.fixture
def node() -> Iterator[str]:
    """A namespace with NICs for a default route by a macvlan, the tunnels, the API server, and nothing."""
    name = f"nic-{uuid4().hex[:8]}"
    netns.create(name)
    for nic in ("route", "route6", "tunnel", "server", "idle"):
        netns.ip(name, f"link add {nic} type bridge", f"link set {nic} up")
    netns.ip(
        name,
        "link add link route name above type macvlan",
        "link set above up",
        "address add 10.1.0.2/24 dev above",
        "route add default via 10.1.0.1",
        "address add fd00:1::2/64 dev route6 nodad",
        "route add default via fd00:1::1",
        "address add 10.2.0.2/24 dev tunnel",
        "address add fd00:2::2/64 dev tunnel nodad",
        "address add 10.3.0.2/24 dev server",
        "address add 10.4.0.2/24 dev idle",
    )
    yield name
    netns.run("ip", "netns", "del", name)


@pytest.mark.system
@pytest.mark.parametrize(
    ("interface", "said"),
    [
        ("route", "carries above, which has a default route of the node"),
        ("route6", "has a default route of the node"),
        ("tunnel", "has the node's address fd00:2::2"),
        ("server", "leads to the API server (10.3.0.9)"),
        ("idle", ""),
    ],
)
async def test_the_kernel_is_asked(node: str, interface: str, said: str) -> None:
    found = await inside(f"/run/netns/{node}", lambda netlink: read(netlink, {"fd00:2::2"}, "10.3.0.9"))
    assert found.on(interface) == said


@pytest.mark.system
@pytest.mark.parametrize(
    ("bridge", "said"),
    [
        ("br-x", "is a port of OVS bridge br-x"),
        (None, "may be a port of Open vSwitch, which does not answer"),
        ("", ""),
    ],
)
async def test_a_port_of_the_switch(node: str, bridge: str | None, said: str) -> None:
    connectivity = Connectivity(f"/run/netns/{node}", lambda _: bridge, lambda: (), "127.0.0.1")
    assert await connectivity.on("idle") == said

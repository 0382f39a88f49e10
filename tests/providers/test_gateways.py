"""Default gateways of every form are asked: of one next hop or several, and over IPv6 for IPv4 (RFC 5549)."""

import pytest

from tests.providers.rig import BRIDGE, NIC, SECOND, Machines
from tests.providers.test_messages import gateway_goes
from virtnet.lab import netns

pytestmark = pytest.mark.system

SILENT = {
    "ECMP": ("10.7.0.200", f"route add default metric 5 nexthop via 10.7.0.1 dev {NIC} nexthop via 10.7.0.200 dev {NIC}"),
    "ECMP of IPv6": ("fd07::200", f"route add ::/0 metric 5 nexthop via fd07::1 dev {NIC} nexthop via fd07::200 dev {NIC}"),
    "via inet6": ("fd07::200", f"route add 0.0.0.0/0 via inet6 fd07::200 dev {NIC} metric 5"),
    "ECMP via inet6": (
        "fd07::200",
        f"route add 0.0.0.0/0 metric 5 nexthop via inet6 fd07::1 dev {NIC} nexthop via inet6 fd07::200 dev {NIC}",
    ),
}  # fmt: skip
"""A default route beside the node's first one: the gateway of it that nobody has, and the route."""

ANSWERED = {
    "ECMP": (
        f"route add default metric 5 nexthop via 10.7.0.1 dev {NIC} weight 2 nexthop via 10.7.0.2 dev {NIC}",
        "address del 10.7.0.2/24",
    ),
    "ECMP of IPv6": (
        f"route add ::/0 metric 5 nexthop via fd07::1 dev {NIC} weight 2 nexthop via fd07::2 dev {NIC}",
        "address del fd07::2/64",
    ),
    "via inet6": (f"route add 0.0.0.0/0 via inet6 fd07::2 dev {NIC} metric 5", "address del fd07::2/64"),
}
"""A default route whose gateways answer, and what takes the second of them away."""


def add_second_gateway(world: Machines) -> None:
    netns.ip(world.outside, *(f"address add {a} dev o-{NIC}" for a in ("10.7.0.2/24", "fd07::2/64 nodad")))


@pytest.mark.parametrize("form", SILENT)
async def test_a_gateway_that_is_silent_before(world: Machines, form: str) -> None:
    gateway, route = SILENT[form]
    world.ip(route)
    before = world.whole
    async with world.networks() as networks:
        networks.want({"blue": NIC})
        await networks.reconcile()
        status = networks.statuses["blue"]
        assert (status.ready, status.reason) == (False, "GatewaySilent")
        assert gateway in status.message
    assert world.whole == before
    assert world.bridges == ["br-int"]


@pytest.mark.parametrize("form", ANSWERED)
async def test_a_route_whose_gateways_answer_moves_to_the_bridge_and_back(world: Machines, form: str) -> None:
    add_second_gateway(world)
    world.ip(ANSWERED[form][0])
    before = world.whole
    async with world.networks() as networks:
        networks.want({"blue": NIC})
        await networks.reconcile()
        assert networks.statuses["blue"].reason == "Plugged"
        assert world.on(BRIDGE)["entries"] == before["entries"]
        assert world.on(NIC) == {"entries": []}
        networks.want({})
        await networks.reconcile()
    assert world.whole == before


@pytest.mark.parametrize("form", ANSWERED)
async def test_a_gateway_that_is_lost(world: Machines, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    route, loss = ANSWERED[form]
    add_second_gateway(world)
    world.ip(route)
    before = world.whole
    async with world.networks() as networks:
        networks.want({"blue": await gateway_goes(world, networks, monkeypatch, f"{loss} dev o-{NIC}")})
        await networks.reconcile()
        assert networks.statuses["blue"].reason == "GatewayLost"
        assert loss.split()[2].split("/")[0] in networks.statuses["blue"].message
    assert world.whole == before
    assert world.bridges == ["br-int"]


@pytest.mark.parametrize(
    ("address", "route"),
    [
        ("10.9.0.5/24", "default metric 5 nexthop via 10.7.0.1 dev {} nexthop via 10.9.0.200 dev {}"),
        ("fd09::5/64 nodad", "::/0 metric 5 nexthop via fd07::1 dev {} nexthop via fd09::200 dev {}"),
    ],
    ids=["IPv4", "IPv6"],
)
async def test_a_next_hop_over_another_nic_is_left_to_that_one(world: Machines, address: str, route: str) -> None:
    world.ip(f"address add {address} dev {SECOND}", f"route add {route.format(NIC, SECOND)}")
    before, second = world.whole, world.on(SECOND)
    async with world.networks() as networks:
        networks.want({"blue": NIC})
        await networks.reconcile()
        assert networks.statuses["blue"].reason == "Plugged"
        assert not any(f'"{NIC}"' in entry for entry in world.on(SECOND)["entries"])
        networks.want({})
        await networks.reconcile()
    assert (world.whole, world.on(SECOND)) == (before, second)
